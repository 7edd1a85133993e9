//! Programs and images.

use anyhow::{Context, Result};
use payplane_lab::images::{self, Product};
use payplane_lab::{debian, programs};

use super::{Image, say};

pub(crate) fn list(only: Option<&str>, path: Option<&str>) -> Result<()> {
    debian::ensure()?;
    let programs = programs::ensure(only)?;
    match path {
        Some(executable) => say(programs.path(executable).display()),
        None => programs.folders().for_each(|folder| say(folder.display())),
    }
    Ok(())
}

pub(crate) fn image(verb: Image) -> Result<()> {
    match verb {
        Image::System { name } => {
            let archive = images::ensure_one(&programs::ensure(None)?, &name)?;
            say(archive.with_context(|| format!("no image is called {name}"))?.path.display());
        }
        Image::Product { binary, name, out, ca_bundle } => {
            images::write_product(&Product { name, binary, ca_bundle }, &out)?;
        }
    }
    Ok(())
}
