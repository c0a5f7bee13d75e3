//! What stands between a broker and the C library, for faults of disk and clock that need no root: a library of ours that nodes are started
//! with (`LD_PRELOAD`), in runs in whose plan there is such a fault, and in no other.
//!
//! It does as a page of memory says that the node shares with the supervisor ([`page`]): operations on files below `log.dirs` are late or
//! fail, the time of day is another one. The page is a file, so a node that is started anew finds what its predecessor was told. The supervisor takes every
//! order back when its run is gone.
//!
//! What it can't do that a real disk does: files that are mapped (Kafka's indexes) are neither late nor lost; and what is full or broken
//! here is so from one operation to the next, with nothing written in part.

mod page;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{FileError, OnPath};
use page::PageFile;
pub(crate) use page::{Orders, Seen, operation};

/// The library, where it can be built.
#[cfg(has_shim)]
const LIBRARY: Option<&[u8]> = Some(include_bytes!(concat!(env!("OUT_DIR"), "/shim.so")));
#[cfg(not(has_shim))]
const LIBRARY: Option<&[u8]> = None;

/// Its name in the working directory of a node. What is preloaded is named from there: a path may hold blanks and colons, which would
/// end it.
const LIBRARY_FILE: &str = "gauntlet-shim.so";
/// The page of a node, beside it.
const PAGE_FILE: &str = "gauntlet-shim.page";

/// Why no node of this build of gauntlet can have a shim; `None` if it can.
#[must_use]
pub fn why_not() -> Option<&'static str> {
    match LIBRARY {
        Some(_) => None,
        None => Some("gauntlet was not built for 64-bit Linux with glibc"),
    }
}

/// A node and its page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodePage {
    /// Kafka's `node.id`.
    pub(crate) node: i32,
    /// The page's file.
    pub(crate) file: PathBuf,
}

/// Writes library and page of a node into its working directory; gives the page and the environment that the node is to be started with.
/// `log_dirs` is its `log.dirs`.
pub(crate) fn install(
    node: i32,
    work_dir: &Path,
    log_dirs: &Path,
) -> Result<(NodePage, BTreeMap<String, String>), FileError> {
    let library = work_dir.join(LIBRARY_FILE);
    fs::write(&library, LIBRARY.unwrap_or_default()).on("write", &library)?;
    let file = work_dir.join(PAGE_FILE);
    PageFile::create(&file)?;
    let mut preload = format!("./{LIBRARY_FILE}");
    if let Ok(others) = std::env::var("LD_PRELOAD") {
        preload = format!("{preload}:{others}");
    }
    let environment = [
        ("LD_PRELOAD", preload),
        ("GAUNTLET_SHIM_PAGE", file.display().to_string()),
        ("GAUNTLET_SHIM_DIR", log_dirs.display().to_string()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
    Ok((NodePage { node, file }, environment))
}

/// The pages of all nodes, on the side of whoever gives orders.
#[derive(Debug, Default)]
pub(crate) struct Shims(BTreeMap<i32, PageFile>);

impl Shims {
    /// Opens the pages of `nodes`.
    pub(crate) fn open(nodes: &[NodePage]) -> Result<Self, FileError> {
        let open = |page: &NodePage| Ok((page.node, PageFile::open(&page.file)?));
        Ok(Self(nodes.iter().map(open).collect::<Result<_, FileError>>()?))
    }

    /// Whether the nodes of this cluster have none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Orders `node` to do so, instead of what it was ordered before; what it has done is counted anew.
    pub(crate) fn order(&mut self, node: i32, orders: Orders) -> Result<(), String> {
        self.page(node)?.order(orders).map_err(|error| error.to_string())
    }

    /// Takes back what `node` was ordered; harmless if it was not. What it has done stays to be seen.
    pub(crate) fn take_back(&mut self, node: i32) -> Result<(), String> {
        self.page(node)?.take_back().map_err(|error| error.to_string())
    }

    /// Takes everything back; gives what went wrong.
    pub(crate) fn take_all_back(&mut self) -> Vec<String> {
        self.0.values_mut().filter_map(|page| page.take_back().err()).map(|error| error.to_string()).collect()
    }

    /// What `node` has done so far of what it was ordered last.
    pub(crate) fn seen(&mut self, node: i32) -> Result<Seen, String> {
        self.page(node)?.seen().map_err(|error| error.to_string())
    }

    fn page(&mut self, node: i32) -> Result<&mut PageFile, String> {
        self.0.get_mut(&node).ok_or_else(|| format!("node {node} of this cluster has no shim"))
    }
}

#[cfg(test)]
mod tests;
