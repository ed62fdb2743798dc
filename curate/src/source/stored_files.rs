//! Files in an object store: what an address, a glob or a folder of one names, by the rules of files on a disk.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use setaccio_base::{
    bundle::Place,
    objects::{self, Object, StoreError},
};

use super::globs;
use crate::error::SourceError;

/// What was found: the files to read, by address, and what folders that are searched whole hold beside these.
#[derive(Debug, Default)]
pub struct StoredFiles {
    /// The files to read.
    pub files: Vec<Arc<Object>>,
    /// The others.
    pub left_out: Vec<Arc<Object>>,
}

/// What `address` names: an object, a folder of objects, or those that a glob fits.
///
/// # Errors
/// It names nothing, or the store refuses.
pub fn find(address: &str) -> Result<StoredFiles, SourceError> {
    let (root, behind) = objects::parts(address);
    let first = behind.find(['*', '?', '[']).filter(|_| !root.starts_with("http"));
    let Some(first) = first else {
        let stores = objects::stores(address).map_err(|e| said(&e))?;
        if let Some(object) = stores.look(address).map_err(|e| said(&e))? {
            return Ok(StoredFiles { files: vec![Arc::new(object)], left_out: Vec::new() });
        }
        if root.starts_with("http") {
            return Err(SourceError::new(address, "is not there: look at the address"));
        }
        // A folder is searched whole, whatever it is called.
        let found = within(address, "folder/", &["folder".to_owned()])?;
        return some(
            found,
            address,
            "names no object, and no folder that holds a file of rows: `aws s3 ls` and the like list what there is",
        );
    };
    let folder = behind[..first].rfind('/').map_or("", |slash| &behind[..slash]);
    let pattern = behind[folder.len()..].trim_start_matches('/').to_owned();
    let folder = if folder.is_empty() { root.to_owned() } else { objects::join(root, folder) };
    let found = within(&folder, "", &[pattern])?;
    some(found, address, "fits no object: `aws s3 ls` and the like list what there is")
}

/// The files below a folder that match any of `patterns`.
///
/// # Errors
/// A pattern is no glob, or the store refuses.
pub fn below(folder: &str, patterns: &[String]) -> Result<StoredFiles, SourceError> {
    within(folder, "", patterns)
}

/// Whether there is anything below a folder. What cannot be told is said by whoever reads it.
pub fn is_folder(folder: &str) -> bool {
    objects::stores(folder).and_then(|stores| stores.list(folder)).map_or(true, |found| !found.is_empty())
}

/// The address that a path is, if it is one.
pub fn address(path: &Path) -> Option<&str> {
    path.to_str().filter(|path| objects::is_address(path))
}

/// Where an object is read.
pub fn place(object: &Arc<Object>) -> Place {
    Place::Stored(object.clone())
}

/// An error of a store as one of reading: it names the object itself.
fn said(error: &StoreError) -> SourceError {
    SourceError::new(&error.address, &*error.message)
}

fn some(found: StoredFiles, address: &str, nothing: &str) -> Result<StoredFiles, SourceError> {
    if found.files.is_empty() { Err(SourceError::new(address, nothing)) } else { Ok(found) }
}

/// What matches below a folder, whose objects are looked at as if they lay below `before`.
fn within(folder: &str, before: &str, patterns: &[String]) -> Result<StoredFiles, SourceError> {
    let listed = objects::stores(folder).and_then(|stores| stores.list(folder)).map_err(|e| said(&e))?;
    let start = objects::join(folder, "").len();
    let by_name: BTreeMap<String, Arc<Object>> =
        listed.into_iter().map(|object| (format!("{before}{}", &object.address[start..]), Arc::new(object))).collect();
    let names: Vec<&str> = by_name.keys().map(String::as_str).collect();
    let (files, left_out) = globs::select(&names, patterns)?;
    let objects = |names: Vec<&str>| names.into_iter().filter_map(|name| by_name.get(name).cloned()).collect();
    Ok(StoredFiles { files: objects(files), left_out: objects(left_out) })
}
