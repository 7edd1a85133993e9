//! PostgreSQL as CloudNativePG wants it, from Debian's own binaries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use snafu::ResultExt;

use super::{Archive, Error, POSTGRES, cached};
use crate::image::Image;
use crate::sys::{self, FileSnafu};

const BIN: &str = "/usr/lib/postgresql/15/bin";
const LIB: &str = "/usr/lib/postgresql/15/lib";
const SHARE: &str = "/usr/share/postgresql/15";
/// CloudNativePG runs its instances as this user.
const POSTGRES_UID: u64 = 26;
/// What its scripts and a human with a shell in the pod expect.
const TOOLS: &[&str] = &[
    "/bin/dash",
    "/bin/bash",
    "/bin/cat",
    "/bin/ls",
    "/bin/mkdir",
    "/bin/rm",
    "/bin/cp",
    "/bin/mv",
    "/bin/sleep",
];

pub(super) fn archive() -> Result<Archive, Error> {
    let packages =
        ["postgresql-15", "postgresql-client-15", "libpq5", "libc6", "bash", "coreutils", "tzdata"];
    let mut arguments = vec!["-W", "-f", "${Package} ${Version}\n"];
    arguments.extend(packages);
    let versions = sys::run("dpkg-query", &arguments)?;
    cached(POSTGRES, &format!("1\n{versions}"), fill)
}

fn fill(image: &mut Image) -> Result<(), Error> {
    for (link, target) in [("/bin", "usr/bin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64")] {
        image.symlink(link, target);
    }
    let mut linked: Vec<PathBuf> = files(BIN)?;
    for path in &linked {
        image.copy(&path.to_string_lossy(), path)?;
    }
    // LLVM alone is larger than all the rest; without its library PostgreSQL compiles nothing just in time.
    let libraries = files(LIB)?.into_iter().filter(|path| !path.to_string_lossy().contains("llvm"));
    for path in libraries {
        image.copy(&path.to_string_lossy(), &path)?;
        linked.push(path);
    }
    for tool in TOOLS.iter().map(Path::new) {
        image.copy(&format!("/usr{}", tool.display()), tool)?;
        linked.push(tool.to_owned());
    }
    image.symlink("/usr/bin/sh", "dash");
    for library in shared_libraries(&linked)? {
        // Debian's /lib is a link to /usr/lib: one place for both spellings.
        let place = library.strip_prefix("/usr").unwrap_or(&library);
        let real = std::fs::canonicalize(&library).context(FileSnafu { action: "find", path: &library })?;
        image.copy(&format!("/usr{place}"), &real)?;
    }
    image.copy_tree(SHARE, Path::new(SHARE))?;
    image.copy_tree("/usr/lib/locale/C.utf8", Path::new("/usr/lib/locale/C.utf8"))?;
    time_zones(image)?;
    image.bytes(
        "/etc/passwd",
        "root:x:0:0::/:/bin/sh\npostgres:x:26:26::/var/lib/postgresql:/bin/bash\n",
        0o644,
    );
    image.bytes("/etc/group", "root:x:0:\npostgres:x:26:\n", 0o644);
    image.dir("/var/lib/postgresql", 0o700, POSTGRES_UID).dir("/tmp", 0o1777, 0);
    image.env = vec![format!("PATH={BIN}:/usr/bin:/bin"), "LANG=C.utf8".to_owned()];
    image.user = POSTGRES_UID.to_string();
    image.entrypoint = vec![format!("{BIN}/postgres")];
    Ok(())
}

/// Debian's PostgreSQL reads the system's time zones. Its two copies for other
/// conventions (leap seconds, POSIX) are left out.
fn time_zones(image: &mut Image) -> Result<(), Error> {
    let zones = Path::new("/usr/share/zoneinfo");
    let Ok(entries) = std::fs::read_dir(zones) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("/usr/share/zoneinfo/{name}");
        if name == "posix" || name == "right" {
            continue;
        }
        let resolved =
            std::fs::metadata(entry.path()).context(FileSnafu { action: "read", path: entry.path() })?;
        if resolved.is_dir() {
            image.copy_tree(&path, &entry.path())?;
        } else {
            image.copy(&path, &entry.path())?;
        }
    }
    Ok(())
}

fn files(folder: &str) -> Result<Vec<PathBuf>, Error> {
    let path = Path::new(folder);
    let mut files: Vec<_> = std::fs::read_dir(path)
        .context(FileSnafu { action: "list", path })?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// The libraries and the loader that `ldd` names for these files.
fn shared_libraries(files: &[PathBuf]) -> Result<BTreeSet<String>, Error> {
    let output = sys::run("ldd", files)?;
    let mut libraries = BTreeSet::new();
    for line in output.lines() {
        // "	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)" or "	/lib64/ld-linux-x86-64.so.2 (0x...)"
        let mut words = line.split_whitespace().filter(|word| word.starts_with('/'));
        if line.starts_with('\t')
            && let Some(path) = words.next()
        {
            libraries.insert(path.to_owned());
        }
    }
    Ok(libraries)
}
