//! The grammar, and that of the pages.

use super::*;
use clap::CommandFactory as _;

#[test]
fn the_arguments_contradict_nothing() {
    Args::command().debug_assert();
}

#[test]
fn a_value_comes_from_exactly_one_place() {
    let parse = |words: &str| Args::try_parse_from(words.split(' '));
    assert!(parse("lsm put a b").is_ok());
    assert!(parse("lsm put a -x").is_ok());
    assert!(parse("lsm put a -5").is_ok());
    for words in ["lsm put a", "lsm put a b -x", "lsm put a -x --file f", "lsm put a hex:0"] {
        assert_eq!(parse(words).unwrap_err().exit_code(), 2, "{words}");
    }
    assert!(parse("lsm scan --prefix a --start b").is_err());
}

/// The pages that show commands, and how many calls of `lsm` each has at least.
const PAGES: &[(&str, &str, usize)] = &[
    ("README.md", include_str!("../../../../README.md"), 5),
    ("crates/lsm-cli/README.md", include_str!("../../README.md"), 25),
    ("docs/walkthrough.md", include_str!("../../../../docs/walkthrough.md"), 10),
];

#[test]
fn the_commands_of_the_pages_are_understood() {
    for (name, page, least) in PAGES {
        let calls: Vec<Vec<String>> = fenced_lines(page).flat_map(calls).collect();
        assert!(*least <= calls.len(), "{name}: {} calls", calls.len());
        for words in calls {
            let parsed = Args::try_parse_from(&words);
            assert!(parsed.is_ok(), "{name}: {words:?}: {}", parsed.unwrap_err());
        }
    }
}

/// The lines between fences, but for those that leave something open.
fn fenced_lines(page: &str) -> impl Iterator<Item = &str> {
    let mut is_fenced = false;
    page.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_fenced ^= is_fence;
        is_fenced && !is_fence && !line.contains('…')
    })
}

/// The calls of `lsm` in a line that a shell may read: its words, without what it redirects.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let mut calls = vec![Vec::new()];
    let mut words = shell_words(line).into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "|" | ";" | "&" => calls.push(Vec::new()),
            // The file behind it is no argument.
            "<" | ">" => drop(words.next()),
            _ => calls.last_mut().expect("there is one from the beginning").push(word),
        }
    }
    calls.retain(|words| words.first().is_some_and(|first| first == "lsm"));
    calls
}

/// The words and operators of a line of shell, without the quotes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for char in line.chars() {
        match (quote, char) {
            (Some(open), _) if open == char => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '|' | ';' | '&' | '<' | '>') => {
                words.extend(word.take());
                words.push(char.into());
            }
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

#[test]
fn a_line_of_shell_falls_into_calls() {
    let words = |line: &str| calls(line).iter().map(|words| words.join("+")).collect::<Vec<_>>();
    assert_eq!(words("$ lsm get 'a b'; echo $?"), ["lsm+get+a b"]);
    assert_eq!(
        words("printf 'lsm; |' | lsm import --db \"d\" > f && lsm scan"),
        ["lsm+import+--db+d", "lsm+scan"]
    );
    assert_eq!(words("lsm: there is no key; lsm-server x"), [""; 0]);
}
