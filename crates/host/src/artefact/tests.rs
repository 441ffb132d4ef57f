//! Each way in which a file is no program has its own words.

use super::*;
use crate::scratch::Scratch;

/// Writes the bytes to an executable file and inspects it.
fn inspect_bytes(bytes: &[u8]) -> Result<ArtefactInfo, ArtefactError> {
    inspect_with_mode(bytes, 0o755)
}

fn inspect_with_mode(bytes: &[u8], mode: u32) -> Result<ArtefactInfo, ArtefactError> {
    let scratch = Scratch::new();
    let path = scratch.join("program");
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    inspect_for(&path, Machine::X86_64)
}

#[track_caller]
fn check_refused(bytes: &[u8], words: &str) {
    let error = inspect_bytes(bytes).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.to_string().contains(';'), "no remedy in: {error}");
}

/// A small ELF file: header, program headers, their contents.
struct Builder {
    kind: u16,
    machine: u16,
    segments: Vec<(u32, Vec<u8>)>,
}

impl Builder {
    fn program() -> Self {
        Builder { kind: 3, machine: 62, segments: vec![(1, vec![0x90; 64])] }
    }

    fn with(mut self, kind: u32, content: &[u8]) -> Self {
        self.segments.push((kind, content.to_vec()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut header = vec![0; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[16..18].copy_from_slice(&self.kind.to_le_bytes());
        header[18..20].copy_from_slice(&self.machine.to_le_bytes());
        header[32..40].copy_from_slice(&64_u64.to_le_bytes());
        header[54..56].copy_from_slice(&56_u16.to_le_bytes());
        header[56..58].copy_from_slice(&(self.segments.len() as u16).to_le_bytes());
        let mut content = Vec::new();
        let content_start = 64 + 56 * self.segments.len();
        for (kind, bytes) in &self.segments {
            let mut entry = vec![0; 56];
            entry[..4].copy_from_slice(&kind.to_le_bytes());
            let offset = (content_start + content.len()) as u64;
            entry[8..16].copy_from_slice(&offset.to_le_bytes());
            entry[32..40].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
            header.extend_from_slice(&entry);
            content.extend_from_slice(bytes);
        }
        header.extend_from_slice(&content);
        header
    }
}

fn pie_flag() -> Vec<u8> {
    [0x6fff_fffb_u64.to_le_bytes(), 0x0800_0001_u64.to_le_bytes()].concat()
}

#[test]
fn the_c_library_follows_from_the_loader() {
    type MakeLibc = fn(PathBuf) -> Libc;
    let cases: [(&str, MakeLibc); 3] = [
        ("/lib64/ld-linux-x86-64.so.2", |loader| Libc::Glibc { loader }),
        ("/lib/ld-musl-x86_64.so.1", |loader| Libc::Musl { loader }),
        ("/system/bin/linker64", |loader| Libc::Other { loader }),
    ];
    for (loader, libc) in cases {
        for name in [loader.to_owned(), format!("{loader}\0")] {
            let program = Builder::program().with(3, name.as_bytes());
            assert_eq!(inspect_bytes(&program.bytes()).unwrap().libc, libc(loader.into()));
        }
    }
    let fixed = Builder { kind: 2, ..Builder::program() };
    assert_eq!(inspect_bytes(&fixed.bytes()).unwrap().libc, Libc::Static);
    let anywhere = Builder::program().with(2, &pie_flag());
    assert_eq!(inspect_bytes(&anywhere.bytes()).unwrap().libc, Libc::Static);
}

#[test]
fn what_is_no_program_is_called_by_its_name() {
    check_refused(b"#!/bin/sh\necho hello", "is a script");
    check_refused(b"\xcf\xfa\xed\xfe and more", "is a macOS executable");
    check_refused(b"MZ and more", "is a Windows executable");
    check_refused(b"PK\x03\x04 and more", "is a zip or jar file");
    check_refused(b"hello", "no ELF header");
    check_refused(b"", "no ELF header");
    check_refused(&Builder { kind: 1, ..Builder::program() }.bytes(), "is an object file");
    check_refused(&Builder::program().with(2, &[0; 32]).bytes(), "is a shared library");
    let mut file_of_32_bits = Builder { machine: 3, ..Builder::program() }.bytes();
    file_of_32_bits[4] = 1;
    check_refused(&file_of_32_bits, "is a 32-bit program");
}

#[test]
fn a_program_for_another_processor_names_the_target_to_build() {
    let other = Builder { machine: 183, kind: 2, ..Builder::program() };
    check_refused(&other.bytes(), "built for aarch64, and this machine is x86-64");
    check_refused(&other.bytes(), "--target x86_64-unknown-linux-gnu");
}

#[test]
fn a_file_cut_anywhere_is_refused_and_never_a_panic() {
    let whole = Builder::program().with(3, b"/lib64/ld-linux-x86-64.so.2\0").bytes();
    let scratch = Scratch::new();
    let path = scratch.join("program");
    std::fs::write(&path, &whole).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    inspect_for(&path, Machine::X86_64).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    for length in (0..whole.len()).rev() {
        file.set_len(length as u64).unwrap();
        inspect_for(&path, Machine::X86_64).unwrap_err();
    }
    check_refused(&whole[..whole.len() - 1], "it ends early");
}

#[test]
fn no_single_byte_of_the_headers_can_cause_a_panic() {
    let whole = Builder::program().with(2, &pie_flag()).with(3, b"/lib/ld-musl.so\0").bytes();
    let scratch = Scratch::new();
    let path = scratch.join("program");
    std::fs::write(&path, &whole).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    for at in 0..64 + 3 * 56 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            file.write_all_at(&[value], at as u64).unwrap();
            let _ = elf::read(&file, whole.len() as u64);
        }
        file.write_all_at(&whole[at..=at], at as u64).unwrap();
    }
}

#[test]
fn a_file_that_may_not_be_executed_is_refused() {
    let program = Builder { kind: 2, ..Builder::program() };
    let error = inspect_with_mode(&program.bytes(), 0o644).unwrap_err();
    assert!(error.to_string().contains("chmod +x"), "{error}");
}

#[test]
fn a_missing_file_a_directory_and_a_giant_are_refused() {
    let scratch = Scratch::new();
    let error = inspect(&scratch.join("nothing")).unwrap_err();
    assert!(matches!(error, ArtefactError::Missing { .. }));
    assert!(matches!(inspect(scratch.path()), Err(ArtefactError::NotAFile { .. })));
    let giant = scratch.join("giant");
    File::create(&giant).unwrap().set_len(ARTEFACT_BYTES_MAX + 1).unwrap();
    assert!(matches!(inspect(&giant), Err(ArtefactError::TooLarge { .. })));
}

#[test]
fn the_job_link_is_checked_against_what_the_engine_speaks() {
    let program = Builder { kind: 2, ..Builder::program() };
    let none = inspect_bytes(&program.bytes()).unwrap();
    assert_eq!(none.job_link, None);
    assert!(matches!(none.check_job_link(1, 3), Err(ArtefactError::NoJobLink { .. })));

    let linked = program.with(7, &job_link_marker(3)).bytes();
    let info = inspect_bytes(&linked).unwrap();
    assert_eq!(info.check_job_link(1, 3).unwrap(), 3);
    let newer = info.check_job_link(1, 2).unwrap_err().to_string();
    assert!(newer.contains("upgrade the cluster"), "{newer}");
    let older = info.check_job_link(4, 6).unwrap_err().to_string();
    assert!(older.contains("build it again"), "{older}");
}

#[test]
fn a_loader_that_is_not_installed_is_named() {
    let program = Builder::program().with(3, b"/lib/ld-musl-nowhere.so.1\0");
    let error = inspect_bytes(&program.bytes()).unwrap().check_loader().unwrap_err();
    assert!(error.to_string().contains("/lib/ld-musl-nowhere.so.1"), "{error}");
    assert!(error.to_string().contains("-linux-gnu"), "{error}");
}

/// This test program is one that links a marker.
#[cfg(target_os = "linux")]
#[test]
fn a_real_program_is_read_and_hashed() {
    #[used]
    static MARKER: [u8; 32] = job_link_marker(987_654_321);
    std::hint::black_box(&MARKER);

    let path = std::env::current_exe().unwrap();
    let info = inspect(&path).unwrap();
    info.check_loader().unwrap();
    assert_eq!(info.machine, Machine::here());
    assert_eq!(info.check_job_link(1, u32::MAX).unwrap(), 987_654_321);
    let content = std::fs::read(&path).unwrap();
    assert_eq!(info.bytes, content.len() as u64);
    assert_eq!(info.hash, ContentHash(millstream_core::hash::xxh3_128(&content)));
    assert_eq!(content_hash(&path).unwrap(), info.hash);
}
