//! Charts as SVG, which a page holds as it is: bars for a figure, lines for latencies.
//!
//! They are drawn by `plotters`, without its fonts: the page's reader has some.

use plotters::prelude::*;

use crate::store::Result;

const WIDTH: u32 = 420;
const FONT: &str = "sans-serif";

/// A bar: its label, its length, and the number of its colour, which is that of its engine.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) color: usize,
}

/// A line through a latency for each quantile.
pub(super) struct Line {
    pub(super) label: String,
    pub(super) values: Vec<f64>,
    pub(super) color: usize,
}

/// Bars below one another, the first on top.
pub(super) fn bars(title: &str, bars: &[Bar]) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, 70 + 24 * bars.len() as u32));
    let area = area.into_drawing_area();
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    // The last place is one of them.
    let places = (0..bars.len() as i32 - 1).into_segmented();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 15))
        .margin(4)
        .x_label_area_size(24)
        .y_label_area_size(104)
        // To the right of the longest bar there is space for its value.
        .build_cartesian_2d(0.0..longest * 1.25, places)?;
    let label = |place: &SegmentValue<i32>| match place {
        SegmentValue::CenterOf(place) => bars.iter().rev().nth(*place as usize),
        _ => None,
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .x_labels(4)
        .y_labels(bars.len())
        .label_style((FONT, 12))
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|place| label(place).map(|bar| bar.label.clone()).unwrap_or_default())
        .draw()?;
    for (place, bar) in bars.iter().rev().enumerate() {
        let (below, above) = (place as i32, place as i32 + 1);
        let corners = [(0.0, SegmentValue::Exact(below)), (bar.value, SegmentValue::Exact(above))];
        let mut rectangle = Rectangle::new(corners, Palette99::pick(bar.color).filled());
        rectangle.set_margin(3, 3, 0, 0);
        let end = (bar.value, SegmentValue::CenterOf(below));
        let value = Text::new(short(bar.value), (4, -6), (FONT, 12));
        chart.draw_series([rectangle])?;
        chart.draw_series([EmptyElement::at(end) + value])?;
    }
    area.present()?;
    drop((chart, area));
    Ok(svg)
}

/// Lines over the same steps, on a logarithmic scale.
pub(super) fn lines(title: &str, steps: &[&str], lines: &[Line]) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH + 160, 300)).into_drawing_area();
    let values = || lines.iter().flat_map(|line| line.values.iter().copied());
    // A logarithm wants something above 0; the shortest latency is a nanosecond.
    let low = values().fold(f64::MAX, f64::min).max(1e-3);
    let high = values().fold(low, f64::max);
    // Behind the last step there is space for the names of the lines.
    let end = steps.len() as i32 + 2;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 15))
        .margin(4)
        .x_label_area_size(24)
        .y_label_area_size(60)
        .build_cartesian_2d(0..end, (low * 0.7..high * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .x_labels(end as usize + 1)
        .y_labels(6)
        .label_style((FONT, 12))
        .x_label_formatter(&|step| steps.get(*step as usize).copied().unwrap_or("").to_owned())
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    for line in lines {
        let color = Palette99::pick(line.color).stroke_width(2);
        let points = line.values.iter().enumerate().map(|(step, value)| (step as i32, *value));
        chart
            .draw_series(LineSeries::new(points, color))?
            .label(line.label.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 12))
        .draw()?;
    area.present()?;
    drop((chart, area));
    Ok(svg)
}

/// A number in few characters.
pub(super) fn short(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        size if 1e9 <= size => (value / 1e9, "G"),
        size if 1e6 <= size => (value / 1e6, "M"),
        size if 1e3 <= size => (value / 1e3, "k"),
        _ => (value, ""),
    };
    match value.abs() {
        size if size < 1e-9 => "0".into(),
        size if size < 0.1 => format!("{value:.3}{suffix}"),
        size if size < 10.0 => format!("{value:.2}{suffix}"),
        size if size < 100.0 => format!("{value:.1}{suffix}"),
        _ => format!("{value:.0}{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str, part: &str) -> usize {
        text.matches(part).count()
    }

    #[test]
    fn there_is_a_bar_for_each_value() {
        let bar = |label: &str, value, color| Bar { label: label.into(), value, color };
        let svg = bars("fillrandom", &[bar("lsm", 2_000.0, 0), bar("peer", 1_000.0, 1)]).unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["fillrandom", "lsm", "peer", "2.00k", "1.00k"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        let widths: Vec<f64> = svg
            .split("<rect ")
            .skip(1)
            .filter_map(|rect| rect.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 2, "{svg}");
        // Drawn from below.
        assert!((widths[1] / widths[0] - 2.0).abs() < 0.05, "{widths:?}");
        bars("nothing", &[bar("lsm", 0.0, 0)]).unwrap();
    }

    #[test]
    fn there_is_a_line_for_each_engine() {
        let line = |label: &str, values: &[f64], color| Line {
            label: label.into(),
            values: values.to_vec(),
            color,
        };
        let both = [line("lsm", &[1.0, 10.0, 1e6], 0), line("peer", &[0.0, 20.0, 30.0], 1)];
        let svg = lines("readrandom", &["p50", "p99", "max"], &both).unwrap();
        for text in ["readrandom", "lsm", "peer", "p50", "p99", "max"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        // One line through three points for each engine.
        let lines = svg
            .split("<polyline ")
            .filter(|line| count(line.split('/').next().unwrap_or(""), ",") == 3);
        assert_eq!(lines.count(), 2, "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (0.012, "0.012"), (1.5, "1.50"), (12.34, "12.3"), (999.0, "999")];
        let large = [(12_345.0, "12.3k"), (7_800_000.0, "7.80M"), (2e9, "2.00G")];
        for (value, text) in cases.into_iter().chain(large) {
            assert_eq!(short(value), text);
        }
    }
}
