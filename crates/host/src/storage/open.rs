//! The storage that a user's path or URI names.

use super::local::local;
use super::refused;
use millstream_checkpoint::storage::{Storage, StorageError};
use std::path::Path;
use std::sync::Arc;

/// The storage at a path, or at a URI such as `file:///var/lib/millstream/checkpoints`. A relative
/// path begins in the working directory.
pub fn open(uri: &str) -> Result<Arc<dyn Storage>, StorageError> {
    local(Path::new(local_path(uri)?))
}

/// The path on this machine; what stands behind a scheme is taken as it is, nothing is decoded.
fn local_path(uri: &str) -> Result<&str, StorageError> {
    let invalid = |cause: &str| Err(refused("use directory", uri, cause));
    if let Some(rest) = uri.strip_prefix("file://") {
        return match rest.strip_prefix("localhost").unwrap_or(rest) {
            path if path.starts_with('/') => Ok(path),
            _ => invalid("a third `/` is missing: write `file:///absolute/path`"),
        };
    }
    match uri.split_once(':') {
        Some(("file", path)) if path.starts_with('/') => Ok(path),
        Some(("file", _)) => invalid("the path is not absolute: write `file:///absolute/path`"),
        Some(("s3" | "s3a" | "s3p", rest)) if rest.starts_with("//") => invalid(
            "this program was built without the feature `object-store` of the crate `millstream`: \
             turn it on in its Cargo.toml, or name a directory that is mounted at the same path on \
             all machines",
        ),
        Some((scheme, rest)) if rest.starts_with("//") && is_scheme(scheme) => {
            invalid("the scheme is not known: name a directory or `file:///absolute/path`")
        }
        _ => Ok(uri),
    }
}

fn is_scheme(text: &str) -> bool {
    let first_is_letter = text.starts_with(|first: char| first.is_ascii_alphabetic());
    first_is_letter && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_file_uri_name_the_same_directory() {
        for uri in ["/state/x", "file:///state/x", "file:/state/x", "file://localhost/state/x"] {
            assert_eq!(open(uri).expect("it is a directory's").root(), "/state/x", "{uri}");
        }
        let here = std::env::current_dir().expect("there is one");
        let relative = open("odd:name").expect("a colon may be in a name");
        assert_eq!(Path::new(relative.root()), here.join("odd:name"));
    }

    #[test]
    fn what_is_no_directory_is_refused_with_what_to_write_instead() {
        for (uri, cause) in [
            ("", "the path is empty"),
            ("file://state", "a third `/` is missing"),
            ("file:state", "the path is not absolute"),
            ("s3://bucket/state", "the feature `object-store`"),
            ("hdfs://name/state", "the scheme is not known"),
        ] {
            let error = open(uri).err().expect("refused");
            assert!(error.to_string().contains(cause), "{error}");
            assert_eq!(error.path, uri);
        }
    }
}
