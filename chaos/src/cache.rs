//! Where gauntlet keeps what all runs of a user share: jars, formats, detached clusters.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// No place for the cache could be derived.
#[derive(Debug, thiserror::Error)]
#[error("neither GAUNTLET_CACHE, XDG_CACHE_HOME nor HOME is set; set GAUNTLET_CACHE to a directory")]
pub struct NoCacheDir;

/// The cache directory: `$GAUNTLET_CACHE`, else `$XDG_CACHE_HOME/gauntlet`, else `~/.cache/gauntlet`. It need not exist.
pub fn cache_dir() -> Result<PathBuf, NoCacheDir> {
    choose(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn choose(var: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, NoCacheDir> {
    if let Some(dir) = var("GAUNTLET_CACHE") {
        return Ok(PathBuf::from(dir));
    }
    // The base directory specification says that a relative path is to be ignored.
    let xdg = var("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base = xdg.or_else(|| var("HOME").map(|home| PathBuf::from(home).join(".cache")));
    base.map(|base| base.join("gauntlet")).ok_or(NoCacheDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_variable_wins() {
        let with = |vars: &'static [(&str, &str)]| {
            choose(move |name| {
                vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(with(&[("GAUNTLET_CACHE", "/g"), ("HOME", "/h")]).unwrap(), PathBuf::from("/g"));
        assert_eq!(with(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]).unwrap(), PathBuf::from("/x/gauntlet"));
        assert_eq!(
            with(&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")]).unwrap(),
            PathBuf::from("/h/.cache/gauntlet")
        );
        assert!(with(&[]).is_err());
    }
}
