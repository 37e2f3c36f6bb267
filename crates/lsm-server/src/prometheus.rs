//! The text format of Prometheus.

use std::fmt::Write as _;

/// A page of metrics while it is written.
#[derive(Debug, Default)]
pub(crate) struct Text {
    page: String,
}

impl Text {
    /// Begins a metric: its name, its type, and what it is.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.page, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A value of the metric that was begun.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.page.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.page.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.page, "{label}=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.page.push_str("\\\\"),
                    '"' => self.page.push_str("\\\""),
                    '\n' => self.page.push_str("\\n"),
                    plain => self.page.push(plain),
                }
            }
            self.page.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.page, "{end} {value}");
    }

    /// The samples of one histogram: for each bound how many values were at most that.
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        buckets: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let bucket_name = format!("{name}_bucket");
        for (bound, below) in buckets {
            let bound = bound.to_string();
            let labels = [labels, &[("le", bound.as_str())]].concat();
            self.sample(&bucket_name, &labels, below as f64);
        }
        let labels_inf = [labels, &[("le", "+Inf")]].concat();
        self.sample(&bucket_name, &labels_inf, count as f64);
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count as f64);
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.family("m", "gauge", "Help.");
        text.sample("m", &[("a", "x\"\\\n")], 1.5);
        text.sample("m", &[], 2.0);
        assert_eq!(
            text.finish(),
            "# HELP m Help.\n# TYPE m gauge\nm{a=\"x\\\"\\\\\\n\"} 1.5\nm 2\n"
        );
    }
}
