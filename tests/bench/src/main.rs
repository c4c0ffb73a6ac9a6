//! The rig of `make bench`: what stands before and behind the Envoys that are compared. Nothing of it is in a release.

mod authz;
mod load;
mod upstream;
mod wire;

use std::env;
use std::process::ExitCode;
use webhook_guard_bench::{core, timing};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["upstream"] => upstream::serve(),
        ["authz", secret] => authz::serve(secret.as_bytes()),
        ["load"] => load::obey(),
        ["core"] => core::run(&mut |group, name, nanoseconds| println!("{group}\t{name}\t{nanoseconds}")),
        ["timing"] => timing::rows().iter().for_each(|row| print!("{row}")),
        _ => {
            eprintln!("rig upstream | rig authz SECRET | rig load | rig core | rig timing");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
