//! Splits `catalogue.json` into its blocks while the crate is built.
//!
//! Responsible for the two texts of a provider: its whole block as it is written, and the part of it that a check needs.
//! The filter uses the second only, and carries neither links nor titles.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

/// What a check needs of a block.
const NEEDED: [&str; 6] = ["bare_refusals", "delivery_id", "handshake", "same_as", "scheme", "token"];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by the environment where to write")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=catalogue.json");
    println!("cargo::rerun-if-changed=build.rs");
    let text = fs::read_to_string("catalogue.json")?;
    let providers: BTreeMap<&str, &RawValue> = serde_json::from_str(&text)?;
    let (mut blocks, mut needed) = (String::new(), String::new());
    for (name, block) in providers {
        let mut members: Map<String, Value> = serde_json::from_str(block.get())?;
        members.retain(|key, _| NEEDED.contains(&key.as_str()));
        writeln!(blocks, "    ({name:?}, {:?}),", block.get())?;
        writeln!(needed, "    ({name:?}, {:?}),", Value::Object(members).to_string())?;
    }
    let code = format!(
        "/// The whole block of each provider, by name and in order.\nconst BLOCKS: &[Named] = &[\n{blocks}];\n\n\
         /// What a check needs of each provider, by name and in order.\nconst NEEDED: &[Named] = &[\n{needed}];\n"
    );
    fs::write(Path::new(&env::var("OUT_DIR")?).join("blocks.rs"), code)?;
    Ok(())
}
