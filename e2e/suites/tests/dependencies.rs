//! What `deny.toml` says of the programs that we build on, checked without a
//! network: no banned crate is in the build, every license is allowed, every
//! crate comes from the registry. `cargo deny check` says the same and more.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::collections::BTreeSet;
use std::process::Command;

fn root() -> std::path::PathBuf {
    "../..".into()
}

/// The packages that are really built for the images' platform: name, where it
/// is from, license. (`cargo metadata` also names optional ones that are not.)
fn built() -> BTreeSet<(String, String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--offline", "--locked", "--target=x86_64-unknown-linux-gnu"])
        .args(["--edges=normal,build,dev", "--prefix=none", "--format={p}|{l}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
    lines
        .map(|(package, license)| {
            let (name, rest) = package.split_once(' ').unwrap();
            let origin = rest.split_once('(').map_or("", |(_, origin)| origin.trim_end_matches(')'));
            (name.to_owned(), origin.to_owned(), license.to_owned())
        })
        .collect()
}

/// The quoted words of a section of deny.toml, with what stands before each.
fn words<'a>(text: &'a str, section: &str) -> Vec<(&'a str, &'a str)> {
    let from = text.split_once(&format!("[{section}]\n")).unwrap().1;
    let lines = from.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once('"')).map(|(a, b)| (a, b.split('"').next().unwrap())).collect()
}

/// Is one of the licenses that an expression offers allowed, and each that it demands?
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    let terms = expression.split(" AND ").map(str::trim);
    terms.into_iter().all(|term| term.split(" OR ").any(|license| allowed.contains(license.trim())))
}

#[test]
fn every_crate_in_the_build_is_one_that_deny_toml_takes() {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let banned: BTreeSet<_> = words(&text, "bans")
        .into_iter()
        .filter(|(a, _)| a.contains("name ="))
        .map(|(_, name)| name)
        .collect();
    let allowed: BTreeSet<_> = words(&text, "licenses").into_iter().map(|(_, name)| name).collect();
    assert!(banned.contains("ring") && allowed.contains("MIT"), "deny.toml is read: {banned:?} {allowed:?}");
    let packages = built();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    for (name, origin, license) in &packages {
        assert!(!banned.contains(name.as_str()), "{name} is banned by deny.toml");
        assert!(is_allowed(license, &allowed), "{name}: license {license:?} is not in deny.toml");
        // Nothing stands here for the registry, a folder for our own crates.
        assert!(
            origin.is_empty() || origin == "proc-macro" || origin.starts_with('/'),
            "{name} comes from {origin:?}"
        );
    }
}

#[test]
fn license_expressions_are_read() {
    let allowed = BTreeSet::from(["MIT", "ISC"]);
    for good in ["MIT", "MIT OR GPL-3.0", "(MIT OR X) AND ISC", "MIT/Apache-2.0"] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "X OR Y"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}
