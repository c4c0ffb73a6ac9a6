//! Splits `catalogue.json` and `feeds.json` into their blocks while the crate is built.
//!
//! Responsible for the two texts of a provider, and of a feed: its whole block as it is written, and the part of it that a
//! check needs. The filter uses the second only, and carries neither links nor titles.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

/// What a check needs of a provider.
const OF_A_PROVIDER: [&str; 6] = ["bare_refusals", "delivery_id", "handshake", "same_as", "scheme", "token"];
/// What a check needs of a feed.
const OF_A_FEED: [&str; 7] = ["authority", "initial", "json", "lines", "narrowed_by", "path", "where"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    split("catalogue.json", "blocks.rs", &OF_A_PROVIDER)?;
    split("feeds.json", "feeds.rs", &OF_A_FEED)
}

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by the environment where to write")]
fn split(file: &str, output: &str, of_use: &[&str]) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={file}");
    let text = fs::read_to_string(file)?;
    let all: BTreeMap<&str, &RawValue> = serde_json::from_str(&text)?;
    let (mut blocks, mut needed) = (String::new(), String::new());
    for (name, block) in all {
        let mut members: Map<String, Value> = serde_json::from_str(block.get())?;
        members.retain(|key, _| of_use.contains(&key.as_str()));
        writeln!(blocks, "    ({name:?}, {:?}),", block.get())?;
        writeln!(needed, "    ({name:?}, {:?}),", Value::Object(members).to_string())?;
    }
    let code = format!(
        "/// Each whole block, by name and in order.\nconst BLOCKS: &[Named] = &[\n{blocks}];\n\n\
         /// What a check needs of each, by name and in order.\nconst NEEDED: &[Named] = &[\n{needed}];\n"
    );
    fs::write(Path::new(&env::var("OUT_DIR")?).join(output), code)?;
    Ok(())
}
