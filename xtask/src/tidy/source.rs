//! Rust source, with its code and its comments apart.
//!
//! ```text
//! text       let a = "unsafe"; // why
//! code       let a =         ;
//! comments                     // why
//! ```
//!
//! Invariant: `code` and `comments` have the length of `text` and its line ends; what belongs to
//! the other, and the inside of literals, is spaces. So a rule can search for a word without
//! meeting it in a string, and a place in one is the same place in all three.

use std::ops::Range;

/// A Rust source file.
pub(super) struct RustFile {
    pub(super) path: String,
    pub(super) text: String,
    /// The text without comments and without string and character literals.
    pub(super) code: String,
    /// The text without anything but comments.
    pub(super) comments: String,
    tests: Vec<Range<usize>>,
}

impl RustFile {
    /// Takes the text of a file apart.
    pub(super) fn new(path: String, text: String) -> RustFile {
        let (code, comments) = split(&text);
        let tests = test_items(&code);
        RustFile { path, text, code, comments, tests }
    }

    /// Whether the whole file is tests, an example or a benchmark. Below `src` that is only the module
    /// `tests`, which must be declared for tests only; what else is there is compiled into a product.
    pub(super) fn is_test_file(&self) -> bool {
        let folders = ["tests", "examples", "benches", "fuzz"];
        let (before, below) = self.path.split_once("/src/").unwrap_or((&self.path, ""));
        before.split('/').any(|name| folders.contains(&name))
            || below.split('/').any(|name| name == "tests" || name == "tests.rs")
    }

    /// Whether the code at this place is compiled for tests only.
    pub(super) fn is_test(&self, place: usize) -> bool {
        self.is_test_file() || self.tests.iter().any(|range| range.contains(&place))
    }

    /// The text without the items that are compiled for tests only.
    pub(super) fn text_without_tests(&self) -> String {
        let mut kept = String::new();
        let mut from = 0;
        for range in &self.tests {
            if from <= range.start {
                kept.push_str(&self.text[from..range.start]);
                from = range.end;
            }
        }
        kept.push_str(&self.text[from..]);
        kept
    }

    /// The line of a place, counted from one.
    pub(super) fn line(&self, place: usize) -> usize {
        1 + self.text[..place].matches('\n').count()
    }

    /// The places in the code where `word` stands, not as a part of a longer name.
    pub(super) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(&self.code, word)
    }

    /// The functions that have a body: name, and from `fn` to the closing brace.
    pub(super) fn functions(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.items("fn")
    }

    /// The modules that have no file of their own, likewise.
    pub(super) fn inline_modules(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.items("mod")
    }

    /// Whether the function that begins at `start` has the attribute `#[test]`.
    pub(super) fn is_test_function(&self, start: usize) -> bool {
        // Attributes are all that stands between a test and what ends before it.
        let before = &self.code[..start];
        let end_of_last = before.rfind([';', '{', '}']).map_or(0, |end| end + 1);
        before[end_of_last..].contains("#[test]")
    }

    fn items<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = (&'a str, Range<usize>)> {
        self.words(keyword).filter_map(|start| {
            let after = self.code[start + keyword.len()..].trim_start();
            let name_len = after.find(|c| !is_name(c)).filter(|len| *len != 0)?;
            Some((&after[..name_len], start..body_end(&self.code, start)?))
        })
    }
}

/// The places in `text` where `word` stands, not as a part of a longer name.
pub(super) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(place, _)| place).filter(move |place| {
        !text[..*place].ends_with(is_name) && !text[place + word.len()..].starts_with(is_name)
    })
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The end of the item that begins at `start`; `None` if it ends in `;` instead of a body.
fn body_end(code: &str, start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(place + 1);
                }
            }
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The items behind `#[cfg(test)]` and its like.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items = Vec::new();
    for (start, attribute) in code.match_indices("#[cfg(") {
        let Some(len) = code[start..].find(']') else { continue };
        let condition = &code[start + attribute.len()..start + len];
        if !condition.trim_end().strip_suffix(')').is_some_and(implies_test) {
            continue;
        }
        let rest = start + len + 1;
        let end = body_end(code, rest).or_else(|| Some(rest + code[rest..].find(';')? + 1));
        items.push(start..end.unwrap_or(code.len()));
    }
    items
}

/// Whether a condition holds in tests alone: `any(test, unix)` holds elsewhere too.
fn implies_test(condition: &str) -> bool {
    let condition = condition.trim();
    let inside = |name: &str| condition.strip_prefix(name)?.strip_suffix(')');
    match (inside("all("), inside("any(")) {
        (Some(parts), _) => parts_of(parts).any(implies_test),
        (_, Some(parts)) => parts_of(parts).all(implies_test),
        _ => condition == "test",
    }
}

/// What stands between the commas that are in no parentheses.
fn parts_of(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = list.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    // A comma may stand behind the last one.
    parts.filter(|part| !part.trim().is_empty())
}

fn split(text: &str) -> (String, String) {
    let mut code = blank(text);
    let mut comments = blank(text);
    let mut place = 0;
    while let Some(next) = text[place..].chars().next() {
        let rest = &text[place..];
        let is_inside_name = text[..place].ends_with(is_name);
        let comment = comment_len(rest);
        let literal = literal_len(rest, is_inside_name);
        let len = comment.or(literal).unwrap_or(next.len_utf8());
        let range = place..place + len;
        if comment.is_some() {
            comments[range.clone()].copy_from_slice(&text.as_bytes()[range]);
        } else if literal.is_none() {
            code[range.clone()].copy_from_slice(&text.as_bytes()[range]);
        }
        place += len;
    }
    let whole = "only whole characters were copied";
    (String::from_utf8(code).expect(whole), String::from_utf8(comments).expect(whole))
}

fn blank(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'\n' { b'\n' } else { b' ' }).collect()
}

/// The length of the comment at the start of `rest`.
fn comment_len(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    // Block comments nest.
    let mut depth = 0;
    let mut place = 0;
    while place < rest.len() {
        let pair = rest.as_bytes().get(place..place + 2);
        match pair {
            Some(b"/*") => depth += 1,
            Some(b"*/") => depth -= 1,
            _ => {
                place += 1;
                continue;
            }
        }
        place += 2;
        if depth == 0 {
            return Some(place);
        }
    }
    Some(rest.len())
}

/// The length of the string or character literal at the start of `rest`.
fn literal_len(rest: &str, is_inside_name: bool) -> Option<usize> {
    if rest.starts_with('"') {
        return Some(quoted_len(rest, '"'));
    }
    if let Some(inside) = rest.strip_prefix('\'') {
        // A lifetime is not closed: of `'a` and `'a'`, the latter is a character.
        let mut inside = inside.chars();
        let is_character = inside.next() == Some('\\') || inside.next() == Some('\'');
        return is_character.then(|| quoted_len(rest, '\''));
    }
    if is_inside_name {
        return None;
    }
    let raw = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let inside = raw[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let inside_len = inside.find(&end).map_or(inside.len(), |len| len + end.len());
    Some(rest.len() - inside.len() + inside_len)
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (place, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return place + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests;
