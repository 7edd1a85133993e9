//! Planted secrets are looked for wherever the stack writes: every table (as a dump has them, the
//! vault's too: what it keeps is sealed), every file of the database with its log of changes, the
//! components' own logs and metrics; as they are, in hexadecimal and in base64.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::harness::Stack;

const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What a secret looks like, wherever in a longer text it stands.
fn shapes(secret: &str) -> Vec<String> {
    let encoded = (0..3).map(|before| {
        let text = STANDARD_NO_PAD.encode([vec![b'x'; before], secret.as_bytes().to_vec()].concat());
        // The characters at both ends are of its neighbours, too.
        text[(before * 4).div_ceil(3)..text.len() - 1].to_owned()
    });
    let hex = hex::encode(secret);
    [secret.to_owned(), hex.to_uppercase(), hex].into_iter().chain(encoded).collect()
}

/// The first of the shapes that stands anywhere.
fn find<'a>(bytes: &[u8], shapes: &'a [String]) -> Option<&'a str> {
    let begins = |shape: &String| u16::from_be_bytes([shape.as_bytes()[0], shape.as_bytes()[1]]);
    let mut known = vec![false; 1 << 16];
    shapes.iter().for_each(|shape| known[usize::from(begins(shape))] = true);
    let at = |place: usize| shapes.iter().find(|shape| bytes[place..].starts_with(shape.as_bytes()));
    let places = bytes.windows(2).enumerate();
    let mut places = places.filter(|(_, two)| known[usize::from(u16::from_be_bytes([two[0], two[1]]))]);
    places.find_map(|(place, _)| at(place)).map(String::as_str)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

/// The simulated bank is told them, as a real one is; nobody else keeps them.
pub(crate) async fn nowhere(stack: &Stack, secrets: &[&str]) -> Result<()> {
    let postgres = stack.postgres.connect("postgres").await?;
    postgres.batch_execute("CHECKPOINT").await?;
    let data: String = postgres.query_one("SHOW data_directory", &[]).await?.get(0);
    let mut all = vec![];
    files(Path::new(&data), &mut all)?;
    ensure!(all.iter().any(|path| path.to_string_lossy().contains("pg_wal")), "no log of changes");
    let logs = ["gateway-0.log", "gateway-1.log", "ledger.log"].map(|log| stack.folder.path().join(log));
    all.extend(logs);
    let shapes: Vec<_> = secrets.iter().flat_map(|secret| shapes(secret)).collect();
    for path in all {
        // Files of a running database come and go.
        let Ok(about) = path.metadata() else { continue };
        ensure!(about.len() <= FILE_BYTES_MAX, "{}", path.display());
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let found = find(&bytes, &shapes);
        ensure!(found.is_none(), "{found:?} stands in {}", path.display());
    }
    for gateway in 0..stack.gateways.len() {
        let told = stack.metrics(gateway).await?;
        let found = find(told.as_bytes(), &shapes);
        ensure!(found.is_none(), "{found:?} stands in the metrics of gateway {gateway}");
    }
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    for table in postgres.query(tables, &[]).await? {
        let table: String = table.get(0);
        for shape in &shapes {
            let found = format!("SELECT count(*) FROM {table} t WHERE position($1 IN t::text) > 0");
            let found: i64 = postgres.query_one(&found, &[shape]).await?.get(0);
            ensure!(found == 0, "{shape} stands in {table}");
        }
    }
    Ok(())
}

/// Does an answer hold one of them?
pub(crate) fn is_silent(answer: &str, secrets: &[&str]) -> bool {
    let shapes: Vec<_> = secrets.iter().flat_map(|secret| shapes(secret)).collect();
    find(answer.as_bytes(), &shapes).is_none()
}

/// A scan that finds nothing anywhere proves nothing.
#[test]
fn a_secret_is_found_in_whatever_it_is_wrapped() {
    for secret in ["6222020200112230018", "80QXW3417"] {
        for before in 0..6 {
            let text = format!("{}{secret}, and more", "-".repeat(before));
            let wrapped = [text.clone(), hex::encode(&text), STANDARD_NO_PAD.encode(&text)];
            for wrapped in wrapped {
                assert!(find(wrapped.as_bytes(), &shapes(secret)).is_some(), "{wrapped}");
                assert!(find(wrapped.as_bytes(), &shapes("another")).is_none(), "{wrapped}");
            }
        }
    }
}
