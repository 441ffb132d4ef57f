//! `MILLSTREAM_HOME`: what a user keeps between runs.
//!
//! ```text
//! conf/config.yaml     log/     checkpoints/     run/NAME.pid
//! ```

use super::{DirectoryError, make};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const PURPOSE: &str = "MILLSTREAM_HOME";

/// The directory and its layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home at this path; nothing is made.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Home(path.into())
    }

    /// The home that the environment names. The one function of this crate that asks it.
    pub fn from_env() -> Result<Self, DirectoryError> {
        let variable = |name| std::env::var_os(name);
        Self::locate(variable("MILLSTREAM_HOME"), variable("XDG_STATE_HOME"), variable("HOME"))
            .ok_or(DirectoryError::NoHome)
    }

    /// `MILLSTREAM_HOME`, else a directory in the user's state directory. As the XDG base directory
    /// specification asks, a state directory that is not absolute does not count.
    pub fn locate(
        millstream_home: Option<OsString>,
        state_home: Option<OsString>,
        user_home: Option<OsString>,
    ) -> Option<Self> {
        let path = |value: Option<OsString>| value.filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(home) = path(millstream_home) {
            return Some(Home(home));
        }
        let state = path(state_home)
            .filter(|path| path.is_absolute())
            .or_else(|| path(user_home).map(|home| home.join(".local/state")))?;
        Some(Home(state.join("millstream")))
    }

    /// Makes the home, for this user alone, and its four directories.
    pub fn create(&self) -> Result<(), DirectoryError> {
        if !self.0.exists() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
            made.map_err(|cause| DirectoryError::Create {
                purpose: PURPOSE,
                path: self.0.clone(),
                cause,
            })?;
        }
        [self.conf(), self.log(), self.checkpoints(), self.run()]
            .iter()
            .try_for_each(|path| make(PURPOSE, path))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Configuration.
    pub fn conf(&self) -> PathBuf {
        self.0.join("conf")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.conf().join("config.yaml")
    }

    /// Logs.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Checkpoints, unless configured elsewhere.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// Savepoints, unless configured elsewhere. Made with the first one.
    pub fn savepoints(&self) -> PathBuf {
        self.0.join("savepoints")
    }

    /// What is there only as long as something runs.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The pid file of the process of this kind: `taskmanager`, `taskmanager-2`.
    pub fn pid_file(&self, name: &str) -> PathBuf {
        self.run().join(format!("{name}.pid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[track_caller]
    fn check(variables: [Option<&str>; 3], expected: Option<&str>) {
        let [home, state, user] = variables.map(|value| value.map(OsString::from));
        assert_eq!(Home::locate(home, state, user), expected.map(Home::at));
    }

    #[test]
    fn the_home_is_the_first_that_is_named() {
        check([Some("/m"), Some("/s"), Some("/u")], Some("/m"));
        check([None, Some("/s"), Some("/u")], Some("/s/millstream"));
        check([None, None, Some("/u")], Some("/u/.local/state/millstream"));
        check([Some(""), Some(""), Some("/u")], Some("/u/.local/state/millstream"));
        check([None, Some("relative"), Some("/u")], Some("/u/.local/state/millstream"));
        check([None, None, None], None);
    }

    #[test]
    fn making_a_home_twice_changes_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new();
        let home = Home::at(scratch.join("state/millstream"));
        home.create().unwrap();
        std::fs::write(home.config_file(), "parallelism.default: 2\n").unwrap();
        home.create().unwrap();
        assert!(home.config_file().exists() && home.log().is_dir() && home.checkpoints().is_dir());
        assert_eq!(home.pid_file("jobmanager"), home.run().join("jobmanager.pid"));
        let mode = fs::metadata(home.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_named() {
        let scratch = Scratch::new();
        let home = Home::at(scratch.path());
        fs::write(home.log(), "").unwrap();
        let error = home.create().unwrap_err().to_string();
        assert!(error.contains("MILLSTREAM_HOME") && error.contains("/log"), "{error}");
    }
}
