//! The binary `millstream`: Flink's verbs, the processes of a standing cluster, and a demo.
//!
//! - [`arguments`]: what can be said on the command line;
//! - [`configuration`]: the file, `-D`, and the home directory;
//! - [`client`]: REST of a standing cluster;
//! - [`verbs`]: one file per verb.

mod arguments;
mod client;
mod configuration;
mod demo;
mod verbs;

use clap::Parser;
use millstream::api::error::ErrorCode;
use std::process::ExitCode;

millstream::allocator!();

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    match verbs::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(exit_code(error.code))
        }
    }
}

/// 1: the job failed; 2: usage; 3: cannot connect; 4: refused.
fn exit_code(code: ErrorCode) -> u8 {
    match code {
        ErrorCode::Argument | ErrorCode::Configuration => 2,
        ErrorCode::Unreachable => 3,
        ErrorCode::Refused => 4,
        _ => 1,
    }
}
