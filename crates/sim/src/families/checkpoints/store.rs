//! A store of files that fails, and of which nobody knows sometimes whether it has failed.

use millstream_jobmanager::job_master::op::METADATA_FILE;
use millstream_jobmanager::job_master::{JobMasterDone, JobMasterOp};
use millstream_rpc::machine::Rng;
use std::collections::BTreeMap;

/// Files by their whole path.
#[derive(Debug, Default)]
pub(super) struct Store {
    files: BTreeMap<String, Vec<u8>>,
}

impl Store {
    pub(super) fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), bytes);
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Does a work, or not, and says so, or not. `faults`: the chance of that, in thousandths.
    pub(super) fn perform(
        &mut self,
        what: &JobMasterOp,
        faults: u64,
        rng: &mut Rng,
    ) -> JobMasterDone {
        let reason = "the store is ill".to_owned();
        let faulty = rng.one_in_thousand(faults);
        match (faulty, rng.below(3)) {
            (true, 0) => JobMasterDone::Failed { reason },
            (true, 1) => JobMasterDone::Unknown { reason },
            (true, _) => {
                self.act(what);
                JobMasterDone::Unknown { reason }
            }
            (false, _) => self.act(what),
        }
    }

    fn act(&mut self, what: &JobMasterOp) -> JobMasterDone {
        match what {
            JobMasterOp::WriteMetadata { directory, copies, bytes, .. } => {
                for path in copies.iter().flat_map(|copies| &copies.paths) {
                    let from = copies.as_ref().map_or("", |copies| &copies.from);
                    let Some(file) = self.files.get(&format!("{from}/{path}")) else {
                        panic!("{from}/{path} is to be copied and does not exist");
                    };
                    self.files.insert(format!("{directory}/{path}"), file.clone());
                }
                self.files.insert(format!("{directory}/{METADATA_FILE}"), bytes.clone());
                JobMasterDone::Done
            }
            JobMasterOp::ReadMetadata { directory } => {
                let file = self.files.get(&format!("{directory}/{METADATA_FILE}"));
                file.map_or(JobMasterDone::Missing, |bytes| JobMasterDone::Read {
                    bytes: bytes.clone(),
                })
            }
            JobMasterOp::ListFiles { directory } => {
                let below = format!("{directory}/");
                let paths = self.files.keys().filter_map(|path| path.strip_prefix(&below));
                JobMasterDone::Listed { paths: paths.map(str::to_owned).collect() }
            }
            JobMasterOp::Delete { paths, .. } => {
                for path in paths {
                    let below = format!("{path}/");
                    self.files.retain(|file, _| file != path && !file.starts_with(&below));
                }
                JobMasterDone::Done
            }
        }
    }
}
