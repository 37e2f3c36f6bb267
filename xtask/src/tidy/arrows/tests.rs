//! Arrows that go up, sideways or past the page.

use super::*;
use crate::tidy::tests::findings_of;

const WAL: &str = "crates/lsm-wal/Cargo.toml";

fn page() -> String {
    let arrows: String =
        ARROWS.iter().map(|(from, to)| format!("{from} -> {to}\n")).collect::<Vec<_>>().concat();
    format!("# Architecture\n\n```arrows\n{arrows}```\n\n- `crates/lsm-wal`: the log.\n")
}

fn wal_findings(manifest: &str) -> Vec<String> {
    findings_of(check, &[(WAL, manifest), (PAGE, &page())])
}

#[test]
fn arrows_that_go_down_are_silent() {
    assert_eq!(
        wal_findings(
            "[dependencies]\nlsm-base.workspace = true\nparking_lot = \"0.12\"\n\
             [dev-dependencies]\nlsm-base = { workspace = true, features = [\"testing\"] }\n"
        ),
        [""; 0]
    );
}

#[test]
fn an_arrow_sideways_is_found_in_every_section() {
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        for prefix in ["", "target.'cfg(loom)'."] {
            let found =
                wal_findings(&format!("[{prefix}{section}]\nlsm-sstable.workspace = true\n"));
            assert_eq!(found.len(), 1, "{prefix}{section}");
            assert!(
                found[0].starts_with("crates/lsm-wal/Cargo.toml:2: lsm-wal must not depend on")
            );
        }
    }
}

#[test]
fn a_renamed_dependency_is_found() {
    let manifest = "[dependencies]\ntable = { package = \"lsm-sstable\", path = \"../x\" }\n";
    assert_eq!(wal_findings(manifest).len(), 1);
}

#[test]
fn a_dependency_that_the_workspace_renames_is_found() {
    let root = "[workspace.dependencies]\ntables = { package = \"lsm-sstable\", path = \"x\" }\n";
    let wal = "[dependencies]\nlsm-base.workspace = true\ntables.workspace = true\n";
    let found = findings_of(check, &[("Cargo.toml", root), (WAL, wal), (PAGE, &page())]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("crates/lsm-wal/Cargo.toml:3: lsm-wal must not depend on lsm-ss"));
}

#[test]
fn the_workspace_gives_nobody_the_test_file_systems() {
    let root = "[workspace.dependencies]\nlsm-base = { path = \"x\", features = [\"testing\"] }\n";
    let found = findings_of(check, &[("Cargo.toml", root), (WAL, ""), (PAGE, &page())]);
    assert_eq!(
        found,
        ["Cargo.toml:2: `testing` of lsm-base for everybody; leave it to [dev-dependencies]"]
    );
}

#[test]
fn a_package_inside_a_crate_has_the_arrows_of_that_crate() {
    let with = |path: &str, manifest: &str| {
        findings_of(check, &[(WAL, ""), (path, manifest), (PAGE, &page())]).len()
    };
    let fuzz = "crates/lsm-wal/fuzz/Cargo.toml";
    assert_eq!(with(fuzz, "[dependencies]\nlsm-wal = { path = \"..\" }\n"), 0);
    assert_eq!(with(fuzz, "[dependencies]\nlsm-base = { path = \"\" }\n"), 0);
    assert_eq!(with(fuzz, "[dependencies]\nlsm-sstable = { path = \"\" }\n"), 1);
    let all = "xtask/fuzz/Cargo.toml";
    let testing = "[dependencies]\nlsm-wal = { path = \"\", features = [\"testing\"] }\n";
    assert_eq!(with(all, testing), 0);
    let peers = "xtask/peers/Cargo.toml";
    assert_eq!(with(peers, "[dependencies]\nlsm-bench = { path = \"\" }\n"), 0);
    assert_eq!(with(peers, "[dependencies]\nlsm-server = { path = \"\" }\n"), 1);
}

#[test]
fn the_test_file_systems_stay_out_of_products() {
    let manifest = "[dependencies]\nlsm-base = { workspace = true, features = [\"testing\"] }\n";
    assert!(wal_findings(manifest)[0].contains("move it to [dev-dependencies]"));
}

#[test]
fn only_tests_may_reach_base_from_above_the_engine() {
    let server = "crates/lsm-server/Cargo.toml";
    let page = format!("{}- `crates/lsm-server`\n", page().replace("lsm-wal`", "lsm-server`"));
    let with = |manifest: &str| findings_of(check, &[(server, manifest), (PAGE, &page)]).len();
    assert_eq!(
        with("[dev-dependencies]\nlsm-base = { path = \"\", features = [\"testing\"] }\n"),
        0
    );
    assert_eq!(with("[dev-dependencies]\nlsm-base.workspace = true\n"), 1);
}

#[test]
fn xtask_depends_on_no_crate_of_ours() {
    let files = [("xtask/Cargo.toml", "[dependencies]\nlsm-base = \"0.1\"\n")];
    assert!(findings_of(check, &files)[0].starts_with("xtask/Cargo.toml:2: xtask must not"));
}

#[test]
fn the_page_and_the_list_must_agree() {
    let with = |page: &str| findings_of(check, &[(WAL, ""), (PAGE, page)]);
    let less = page().replace("lsm-cli -> lsm-wal\n", "");
    assert!(with(&less)[0].contains("`lsm-cli -> lsm-wal` is missing"));
    let more = page().replace("lsm-cli -> lsm-wal\n", "lsm-cli -> lsm-wal\nlsm-wal -> lsm-cli\n");
    assert!(with(&more)[0].contains("`lsm-wal -> lsm-cli` is no arrow"));
    assert!(with("# A\n\ncrates/lsm-wal\n")[0].contains("no fenced block"));
    assert!(findings_of(check, &[(WAL, "")])[0].contains("the page is missing"));
}

#[test]
fn the_map_names_every_crate_and_only_what_exists() {
    let with = |line: &str| {
        let page = page().replace("- `crates/lsm-wal`: the log.", line);
        findings_of(check, &[(WAL, ""), (PAGE, &page)])
    };
    assert_eq!(with("See [wal](../crates/lsm-wal/), and crates/lsm-wal/Cargo.toml."), [""; 0]);
    assert!(with("Nothing.")[0].contains("does not name `crates/lsm-wal`"));
    assert!(with("crates/lsm-wal, `crates/lsm-wal/src/gone.rs`")[0].contains("gone.rs` does not"));
}
