//! Files that travel with a job: looked at and uploaded where it is submitted, linked to under their own
//! names in each job process. A directory travels as the files that are in it.

use crate::launch;
use crate::process::children::chain;
use millstream_api::error::{Error, ErrorCode, Result};
use millstream_core::ids::JobId;
use millstream_core::job_graph::{CachedContent, CachedFile};
use millstream_host::blob::BlobClient;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// So many files a job may have, those in directories counted: their names travel with its graph.
const FILES_MAX: usize = 1_000;

/// In the working directory of a job process: a directory for each of its files.
const DIRECTORY: &str = "cached-files";

/// Whether all of them are there.
pub(crate) fn check(files: &BTreeMap<String, PathBuf>) -> Result<()> {
    for (name, path) in files {
        contents(path).map_err(|why| unusable(name, path, &why))?;
    }
    Ok(())
}

/// For programs that the JobManager runs to learn their plan: what they name would be its files.
pub(crate) fn refuse(files: &BTreeMap<String, PathBuf>) -> Result<()> {
    let Some(name) = files.keys().next() else { return Ok(()) };
    let summary = format!("cached file `{name}` cannot be uploaded with this job");
    Err(Error::new(ErrorCode::Process, summary)
        .why("the JobManager plans it, and has not the files of whoever submits it")
        .next("submit the program with `millstream run`"))
}

/// Uploads all of them for a job; what the cluster has already is not sent again.
pub(crate) fn upload(
    files: &BTreeMap<String, PathBuf>,
    job: JobId,
    blobs: &BlobClient,
) -> Result<Vec<CachedFile>> {
    let mut uploaded = Vec::new();
    let mut count = 0;
    for (name, path) in files {
        let found = contents(path).map_err(|why| unusable(name, path, &why))?;
        count += found.len();
        if count > FILES_MAX {
            let why = format!("a job may have {FILES_MAX} of them, those in directories counted");
            return Err(unusable(name, path, &why));
        }
        let put = |(inner, path): (String, PathBuf)| match blobs.put_file(job, &path) {
            Ok(content) => Ok(CachedContent { path: inner, content }),
            Err(error) => Err(unusable(name, &path, &chain(&error))),
        };
        let contents = found.into_iter().map(put).collect::<Result<_>>()?;
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let file_name = file_name.unwrap_or_else(|| "file".to_owned());
        uploaded.push(CachedFile { name: name.clone(), file_name, contents });
    }
    Ok(uploaded)
}

/// Makes them visible below a directory of this job process; where each of them is.
pub(crate) fn link(
    files: &[CachedFile],
    directory: &Path,
) -> std::result::Result<BTreeMap<String, PathBuf>, String> {
    if files.is_empty() {
        return Ok(BTreeMap::new());
    }
    let blobs = std::env::var_os(launch::BLOBS)
        .ok_or_else(|| format!("`{}` is not set, but the job has cached files", launch::BLOBS))?;
    let linked = files.iter().enumerate().map(|(index, file)| {
        let own = directory.join(DIRECTORY).join(index.to_string());
        let linked = link_one(file, Path::new(&blobs), &own);
        let path = linked.map_err(|error| {
            format!("cached file `{}` cannot be made in {}: {error}", file.name, own.display())
        })?;
        Ok((file.name.clone(), path))
    });
    linked.collect()
}

fn link_one(file: &CachedFile, blobs: &Path, own: &Path) -> io::Result<PathBuf> {
    let root = own.join(plain(&file.file_name)?);
    fs::create_dir_all(own)?;
    if !matches!(&file.contents[..], [only] if only.path.is_empty()) {
        fs::create_dir_all(&root)?;
    }
    for CachedContent { path, content } in &file.contents {
        let link = match path.is_empty() {
            true => root.clone(),
            false => root.join(plain(path)?),
        };
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        std::os::unix::fs::symlink(blobs.join(content.to_string()), link)?;
    }
    Ok(root)
}

/// A path that leads nowhere but down.
fn plain(path: &str) -> io::Result<&Path> {
    let path = Path::new(path);
    let down = path.components().all(|part| matches!(part, Component::Normal(_)));
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{}`", path.display()));
    Some(path).filter(|_| down).ok_or_else(wrong)
}

/// All files of a directory, with their paths in it; or the one file, with none.
fn contents(path: &Path) -> std::result::Result<Vec<(String, PathBuf)>, String> {
    let about = |error: io::Error| error.to_string();
    let mut found = Vec::new();
    let mut open = vec![(String::new(), path.to_owned())];
    while let Some((inner, path)) = open.pop() {
        if !fs::metadata(&path).map_err(about)?.is_dir() {
            // Whoever may not read it is told now.
            drop(fs::File::open(&path).map_err(|error| format!("`{inner}`: {error}"))?);
            found.push((inner, path));
        } else {
            for entry in fs::read_dir(&path).map_err(about)? {
                let entry = entry.map_err(about)?;
                let name = entry.file_name();
                let name =
                    name.to_str().ok_or_else(|| format!("the name of {name:?} is not UTF-8"))?;
                let separator = if inner.is_empty() { "" } else { "/" };
                open.push((format!("{inner}{separator}{name}"), entry.path()));
            }
        }
        if found.len() + open.len() > FILES_MAX {
            return Err(format!("it has more than {FILES_MAX} files"));
        }
    }
    found.sort();
    Ok(found)
}

fn unusable(name: &str, path: &Path, why: &str) -> Error {
    Error::new(ErrorCode::Argument, format!("cached file `{name}` cannot be read"))
        .at(path.display().to_string())
        .why(why)
        .next("look at the path that `env.register_cached_file` is given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_all_files_in_it_and_links_have_their_names() {
        let home = std::env::temp_dir().join(format!("millstream-cached-{}", std::process::id()));
        let model = home.join("model");
        fs::create_dir_all(model.join("deep/er")).expect("made");
        for (path, text) in [("a.txt", "a"), ("deep/er/b.txt", "b")] {
            fs::write(model.join(path), text).expect("written");
        }
        let found = contents(&model).expect("readable");
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.txt", "deep/er/b.txt"]);
        let one = contents(&model.join("a.txt")).expect("readable");
        assert_eq!(one, [(String::new(), model.join("a.txt"))]);
        fs::remove_dir_all(&home).expect("removed");
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in ["..", "a/../../b", "/etc/passwd", "./../a"] {
            assert!(plain(path).is_err(), "{path}");
        }
        assert!(plain("a/b.txt").is_ok());
    }

    #[test]
    fn what_is_not_there_is_named_with_its_path() {
        let files = [("model".to_owned(), PathBuf::from("/nowhere/model.bin"))].into();
        let error = check(&files).expect_err("it is not there").to_string();
        assert!(error.contains("`model`") && error.contains("/nowhere/model.bin"), "{error}");
    }
}
