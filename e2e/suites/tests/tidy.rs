//! House rules as a test: who may depend on whom, what may not stand in the
//! tree, and which files and functions grow long.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use syn::spanned::Spanned;
use syn::visit::Visit;

/// What files are meant to have, and what none but few may have.
const FILE_LINES_MEANT: usize = 150;
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    Path::new("../..").canonicalize().unwrap()
}

fn tracked(extensions: &[&str]) -> Vec<PathBuf> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(listed.status.success(), "git ls-files failed");
    let text = String::from_utf8(listed.stdout).unwrap();
    let wanted = |path: &Path| path.extension().is_some_and(|e| extensions.contains(&e.to_str().unwrap()));
    text.split('\0').map(PathBuf::from).filter(|path| wanted(path) && root().join(path).exists()).collect()
}

/// The workspace's own dependencies of a crate, dev-dependencies excepted.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    let own: BTreeSet<String> = packages.iter().map(name).collect();
    let runtime = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|d| d["kind"].as_str() != Some("dev")).map(name).collect::<BTreeSet<_>>()
    };
    packages
        .iter()
        .map(|package| {
            let mut all = runtime(package);
            all.retain(|dependency| {
                own.contains(dependency) || dependency == "kube" || dependency == "k8s-openapi"
            });
            (name(package), all)
        })
        .collect()
}

#[test]
fn crates_depend_only_in_the_allowed_directions() {
    let shared = ["payplane-api", "payplane-common"];
    for (package, uses) in dependencies() {
        let allowed: BTreeSet<&str> = match package.as_str() {
            "payplane-api" => BTreeSet::new(),
            "payplane-common" => ["payplane-api"].into(),
            "payplane-crds" => ["kube", "k8s-openapi"].into(),
            "payplane-operator" => ["payplane-crds", "payplane-api", "kube", "k8s-openapi"].into(),
            "payplane" => uses
                .iter()
                .map(String::as_str)
                .filter(|d| !d.contains("operator") && !d.starts_with("k"))
                .collect(),
            "payplane-lab" | "payplane-e2e" | "payplane-bench" | "payplane-testkit" => {
                uses.iter().map(String::as_str).filter(|d| !d.contains("operator")).collect()
            }
            _ => shared.into(),
        };
        let forbidden: Vec<_> = uses.iter().filter(|d| !allowed.contains(d.as_str())).collect();
        assert!(forbidden.is_empty(), "{package} may not depend on {forbidden:?}");
    }
}

#[test]
fn nothing_unfinished_and_no_outside_pointer_stands_in_the_tree() {
    let marks = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "XX".to_owned() + "X:",
        "../sha".to_owned() + "red",
    ];
    let endings = ["rs", "md", "sh", "toml", "yaml", "sql", "proto", "go", "py", "c", "tpl", "json", "patch"];
    for path in tracked(&endings) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        for (number, line) in text.lines().enumerate() {
            let found = marks.iter().find(|mark| line.contains(mark.as_str()));
            assert!(found.is_none(), "{}:{}: {found:?}", path.display(), number + 1);
        }
    }
}

#[test]
fn modules_with_logic_are_not_called_mod() {
    let named: Vec<_> = tracked(&["rs"]).into_iter().filter(|path| path.ends_with("mod.rs")).collect();
    assert!(named.is_empty(), "{named:?}");
}

#[derive(Default)]
struct Functions(Vec<(String, usize)>);

impl Functions {
    fn note(&mut self, name: &syn::Ident, block: &syn::Block) {
        let lines = block.span().end().line.saturating_sub(block.span().start().line) + 1;
        self.0.push((name.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig.ident, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig.ident, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.note(&function.sig.ident, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn long_files_and_functions_are_few_and_named() {
    let (mut files, mut functions) = (0usize, 0usize);
    let (mut longer, mut long_files, mut long_functions) = (Vec::new(), Vec::new(), Vec::new());
    for path in tracked(&["rs"]) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        files += 1;
        let lines = text.lines().count();
        if lines > FILE_LINES_MEANT {
            longer.push(format!("{}: {lines}", path.display()));
        }
        if lines > FILE_LINES_MAX {
            long_files.push(path.display().to_string());
        }
        let mut found = Functions::default();
        found.visit_file(&syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        functions += found.0.len();
        let long = found.0.into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
        long_functions
            .extend(long.map(|(name, lines)| format!("{}: {name} ({lines} lines)", path.display())));
    }
    println!("{files} files, {} over {FILE_LINES_MEANT} lines: {longer:?}", longer.len());
    println!("{functions} functions, over {FUNCTION_LINES_MAX} lines: {long_functions:?}");
    assert!(long_files.len() * 10 <= files, "more than a tenth of the files are long: {long_files:?}");
    assert!(
        long_functions.len() * 25 <= functions,
        "more than 4 % of the functions are long: {long_functions:?}"
    );
}

#[test]
fn every_test_is_run_by_somebody() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let scripts = ["Makefile", "e2e/scripts/test.sh", "e2e/scripts/suites.sh"].map(read).concat();
    for path in tracked(&["rs"]) {
        let parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let name = match parts.as_slice() {
            [.., "tests", file] => file.trim_end_matches(".rs"),
            [.., "tests", folder, "main.rs"] => folder,
            _ => continue,
        };
        let named = scripts.split_whitespace().zip(scripts.split_whitespace().skip(1));
        let run = named.into_iter().any(|(option, test)| option == "--test" && test == name);
        assert!(run, "no script runs --test {name} of {}", path.display());
    }
}

/// Says what is in the way where a patch does not apply to the tree.
fn assert_applies(patch: &Path) {
    let said =
        Command::new("git").args(["apply", "--check"]).arg(patch).current_dir(root()).output().unwrap();
    assert!(said.status.success(), "{}: {}", patch.display(), String::from_utf8_lossy(&said.stderr));
}

#[test]
fn the_release_after_this_one_can_be_made() {
    assert_applies(Path::new("e2e/upgrade/next.patch"));
}

#[test]
fn every_bug_can_be_planted() {
    let plants: Vec<_> =
        tracked(&["patch"]).into_iter().filter(|path| path.starts_with("e2e/plants")).collect();
    assert!(plants.len() >= 10, "{plants:?}");
    plants.iter().for_each(|plant| assert_applies(plant));
}
