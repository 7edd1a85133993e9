//! kubectl, as a platform engineer uses it.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Runs kubectl and gives back everything that it said.
///
/// # Panics
/// Where kubectl cannot be started.
#[must_use]
pub fn run(args: &[&str], stdin: Option<&str>) -> Output {
    let program = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let mut command = Command::new(program);
    command.args(args).stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl starts");
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
        pipe.write_all(text.as_bytes()).expect("kubectl reads its input");
    }
    child.wait_with_output().expect("kubectl ends")
}

/// Runs kubectl; a failure is the error text.
pub fn attempt(args: &[&str]) -> Result<String, String> {
    told(&run(args, None))
}

/// What kubectl said: the output, or the error text.
pub fn told(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Runs kubectl, which must succeed.
///
/// # Panics
/// With what kubectl said.
#[must_use]
pub fn ok(args: &[&str]) -> String {
    attempt(args).unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"))
}

/// Reads one object, or nothing where there is none.
///
/// # Panics
/// On any other failure.
#[must_use]
pub fn get(args: &[&str]) -> Option<Value> {
    let all = [&["get", "-o", "json", "--ignore-not-found"], args].concat();
    let text = ok(&all);
    (!text.trim().is_empty()).then(|| serde_json::from_str(&text).expect("kubectl prints JSON"))
}

/// The items of a list.
#[must_use]
pub fn list(args: &[&str]) -> Vec<Value> {
    let found = get(args).unwrap_or_default();
    found["items"].as_array().cloned().unwrap_or_default()
}

/// Applies a manifest, as server-side apply.
pub fn apply(manifest: &str) -> Result<String, String> {
    told(&run(
        &["apply", "--server-side", "--force-conflicts", "--field-manager=e2e", "-f", "-"],
        Some(manifest),
    ))
}

/// Merges a patch into an object.
pub fn patch(target: &[&str], patch: &Value) -> Result<String, String> {
    let text = patch.to_string();
    attempt(&[&["patch", "--type=merge", "-p", &text], target].concat())
}

/// A watch of one object in the background: a path of it, each time it changes.
pub struct Watch(Child);

impl Watch {
    /// Starts to watch; the object as it is now comes first.
    ///
    /// # Panics
    /// Where kubectl cannot be started.
    #[must_use]
    pub fn start(target: &[&str], path: &str) -> Self {
        let program = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let mut command = Command::new(program);
        let output = format!("jsonpath={path}{{\"\\n\"}}");
        command.args(["get", "--watch", "-o", &output]).args(target);
        Self(command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("kubectl starts"))
    }

    /// Ends the watch.
    ///
    /// # Panics
    /// Where kubectl cannot be ended.
    #[must_use]
    pub fn end(mut self) -> String {
        self.0.kill().expect("kubectl ends");
        let output = self.0.wait_with_output().expect("kubectl ends");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
