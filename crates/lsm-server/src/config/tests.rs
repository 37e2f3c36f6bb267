//! What a configuration may be and what is refused.

use super::*;
use clap::Parser as _;
use std::os::unix::fs::PermissionsExt as _;

const TOKEN: &str = "0123456789abcdef";

fn flags(arguments: &[&str]) -> Settings {
    Command::try_parse_from([&["lsm-server"], arguments].concat()).unwrap().settings
}

fn resolve(arguments: &[&str]) -> Result<Config, ConfigError> {
    Config::resolve(flags(arguments), None)
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:8080");
    assert_eq!(config.durability, DurabilityLevel::Sync);
    assert_eq!(config.memtable_size, None);
    assert_eq!((config.max_value_bytes, config.max_body_bytes), (16 << 20, 32 << 20));
    assert_eq!((config.max_connections, config.max_connections_per_ip), (1024, 128));
    assert_eq!(config.write_stall_timeout, Duration::from_secs(5));
    assert!(config.is_loopback() && config.token.is_none() && config.warnings().is_empty());
}

#[test]
fn the_command_line_grammar_is_sound() {
    use clap::CommandFactory as _;
    Command::command().debug_assert();
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lsm.toml");
    std::fs::write(
        &path,
        "listen = \"127.0.0.1:1\"\nmemtable_size = 1048576\nallow_host = [\"a\"]\n",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    let command =
        Command::try_parse_from(["lsm-server", "--config", path, "--listen", "[::1]:2"]).unwrap();
    let config = Config::load(&command, None).unwrap();
    assert_eq!(config.listen, "[::1]:2");
    assert_eq!(config.memtable_size, Some(1 << 20));
    assert_eq!(config.allow_host, ["a"]);
    assert_eq!(config.max_connections, 1024);
}

#[test]
fn an_unknown_line_of_the_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lsm.toml");
    for (text, named) in [
        ("lisen = \"127.0.0.1:1\"\n", "lisen"),
        ("token = \"0123456789abcdef\"\n", "token"),
        ("config = \"x\"\n", "config"),
        ("memtable_size = \"64MB\"\n", "size"),
        ("drain_timeout = 5\n", "drain_timeout"),
        ("durability = \"fsync\"\n", "fsync"),
        ("listen = \"a:1\"\nlisten = \"b:1\"\n", "listen"),
    ] {
        std::fs::write(&path, text).unwrap();
        let command = Command { config: Some(path.clone()), ..Command::default() };
        let error = Config::load(&command, None).unwrap_err();
        assert!(error.0.contains(named), "{text}: {error}");
    }
    let command = Command { config: Some(dir.path().join("absent")), ..Command::default() };
    assert!(Config::load(&command, None).is_err());
}

#[test]
fn the_printed_configuration_gives_itself_again() {
    let settings = flags(&[
        "--listen",
        "0.0.0.0:81",
        "--allow-host",
        "a.example,b.example:82",
        "--insecure-no-tls",
        "--memory-budget",
        "1GiB",
        "--compaction-interval",
        "1500ms",
        "--log-format",
        "json",
    ]);
    let config = Config::resolve(settings, Some(TOKEN.to_owned())).unwrap();
    let printed = config.to_string();
    assert!(!printed.contains(TOKEN));
    let again = Config::resolve(toml::from_str(&printed).unwrap(), Some(TOKEN.to_owned())).unwrap();
    assert_eq!(again.to_string(), printed);
    assert_eq!(again.allow_host, ["a.example", "b.example:82"]);
}

#[test]
fn beyond_loopback_a_token_and_a_word_about_plain_text_are_needed() {
    for listen in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "localhost:80", "db.example:80"] {
        let refused = resolve(&["--listen", listen]).unwrap_err();
        assert!(refused.0.contains("--insecure-no-auth"), "{refused}");
        let refused = resolve(&["--listen", listen, "--insecure-no-auth"]).unwrap_err();
        assert!(refused.0.contains("--insecure-no-tls"), "{refused}");
        let with_token = Config::resolve(flags(&["--listen", listen]), Some(TOKEN.to_owned()));
        assert!(with_token.unwrap_err().0.contains("--insecure-no-tls"));
        let open = resolve(&["--listen", listen, "--insecure-no-auth", "--insecure-no-tls"]);
        assert_eq!(open.unwrap().warnings().len(), 2);
    }
    for listen in ["127.0.0.1:80", "127.9.9.9:0", "[::1]:80"] {
        assert!(resolve(&["--listen", listen]).is_ok(), "{listen}");
    }
}

#[test]
fn weak_tokens_are_refused() {
    for weak in [
        "",
        "short",
        "0123456789abcde",
        "with a blank inside",
        "n\u{e4}n\u{e4}n\u{e4}n\u{e4}n\u{e4}n\u{e4}",
    ] {
        assert!(Config::resolve(Settings::default(), Some(weak.to_owned())).is_err(), "{weak}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let from_file = || resolve(&["--token-file", path.to_str().unwrap()]);
    assert!(from_file().is_err());
    std::fs::write(&path, "\n").unwrap();
    assert!(from_file().is_err());
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    let token = from_file().unwrap().token.unwrap();
    assert!(token.is(TOKEN.as_bytes()));
    assert!(!token.is(b"0123456789abcdeX") && !token.is(b"") && !token.is(b"0123456789abcdef\n"));
    assert_eq!(format!("{token:?}"), "Token(..)");
}

/// The whole of these bits.
fn set_mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_token_that_others_may_choose_is_refused_and_one_that_they_may_read_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, TOKEN).unwrap();
    let from_file = |mode| {
        set_mode(&path, mode);
        resolve(&["--token-file", path.to_str().unwrap()])
    };
    for private in [0o600, 0o400, 0o700] {
        assert_eq!(from_file(private).unwrap().warnings(), [""; 0], "{private:o}");
    }
    for shared in [0o444, 0o640, 0o604] {
        let warnings = from_file(shared).unwrap().warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("--token-file"), "{shared:o}");
    }
    for open in [0o620, 0o602, 0o666] {
        let refused = from_file(open).unwrap_err().0;
        assert!(refused.contains("--token-file") && refused.contains("chmod"), "{refused}");
    }
}

#[test]
fn numbers_and_names_out_of_range_are_refused() {
    for bad in [
        &["--max-value-bytes", "0"][..],
        &["--max-value-bytes", "1GiB"],
        &["--max-body-bytes", "0"],
        &["--max-connections", "0"],
        &["--max-connections-per-ip", "0"],
        &["--bloom-bits-per-key", "33"],
        &["--memtable-size", "1KiB"],
        &["--listen", "8080"],
        &["--listen", ":8080"],
        &["--listen", "127.0.0.1:99999"],
        &["--allow-host", "*"],
        &["--allow-host", "a/b"],
        &["--allow-host", "::1"],
        &["--allow-host", "2001:db8::7"],
        &["--allow-origin", "*"],
        &["--allow-origin", "null"],
        &["--allow-origin", "https://"],
        &["--allow-origin", "https://a/b"],
    ] {
        let error = resolve(bad).unwrap_err();
        assert!(error.0.contains(bad[0]), "{bad:?}: {error}");
    }
}

#[test]
fn the_data_directory_is_made_private_and_must_stay_so() {
    let dir = tempfile::tempdir().unwrap();
    let made = prepare_data_dir(&dir.path().join("a/b")).unwrap();
    assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
    for mode in [0o720, 0o702, 0o777] {
        set_mode(&made, mode);
        assert!(prepare_data_dir(&made).unwrap_err().0.contains("may write"));
    }
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(prepare_data_dir(&file).is_err());
}

#[test]
fn s6_the_admin_token_is_made_once_and_stays_private() {
    let dir = tempfile::tempdir().unwrap();
    let made = admin_token(dir.path()).unwrap();
    let path = dir.path().join("ADMIN_TOKEN");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.trim_end().len(), 64);
    assert!(made.is(text.trim_end().as_bytes()));
    assert!(admin_token(dir.path()).unwrap().is(text.trim_end().as_bytes()));
    // The next start does not trust one that others may have read or written.
    for mode in [0o640, 0o604, 0o620, 0o666, 0o601] {
        set_mode(&path, mode);
        let refused = admin_token(dir.path()).unwrap_err().0;
        assert!(refused.contains("ADMIN_TOKEN") && refused.contains("chmod 600"), "{refused}");
    }
    set_mode(&path, 0o400);
    assert!(admin_token(dir.path()).unwrap().is(text.trim_end().as_bytes()));
}
