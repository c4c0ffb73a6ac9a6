//! Where configurations of the guard stand: alone in a file, or inside the files of Envoy, Istio and Envoy Gateway.
//!
//! Responsible for reading them as what holds each of them would.

mod find;

pub(crate) use find::{Holder, is_guard_name};

use crate::input::env_file::{Environment, EnvironmentArguments};
use crate::input::located_yaml::{self, Kind, Position, Tree};
use crate::input::named_secrets::NamedSecrets;
use crate::output::terminal::Failure;
use clap::Args;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use webhook_guard_core::config::{self, ConfigError, Configuration, Report, SecretSources, Wrong};

/// A file, as far as it could be read.
#[derive(Debug)]
pub(crate) struct File {
    /// Its name.
    pub(crate) path: PathBuf,
    /// Its documents; none where it is neither YAML nor JSON.
    pub(crate) documents: Vec<Tree>,
    /// The configurations in it.
    pub(crate) plugins: Vec<Plugin>,
}

/// A configuration and what surrounds it.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) holder: Holder,
    /// The name of the filter, where it has one.
    pub(crate) name: String,
    /// The resource around it: the `config` of a Wasm filter, the `typed_config` of a dynamic module, the `spec` of a
    /// manifest, or its entry.
    pub(crate) around: Option<Tree>,
    /// The bytes that the filter is given.
    pub(crate) bytes: Vec<u8>,
    /// The configuration with its places; nothing where it is not JSON.
    pub(crate) tree: Option<Tree>,
    /// Where it begins.
    pub(crate) at: Position,
}

impl Plugin {
    /// Reads it, with the secrets that what holds it could have: a Wasm VM has no files, and a dynamic module takes of the
    /// process' variables only what the configuration lists. A file alone may be for either.
    pub(crate) fn configuration(&self, secrets: &NamedSecrets<'_>) -> Result<Configuration, Box<Report>> {
        let variable = |name: &str| secrets.variable(name);
        let file = |path: &str| secrets.file(path);
        let is_process = self.holder.is_native();
        let own = SecretSources::own(&variable);
        let sources = match is_process || self.holder == Holder::File {
            true => SecretSources { file: Some(&file), is_process, ..own },
            false => own,
        };
        config::read_with(&self.bytes, &sources)
    }

    /// The place in the file of something wrong.
    pub(crate) fn position(&self, error: &ConfigError) -> Position {
        let of_key = matches!(error.wrong, Wrong::UnknownKey(_) | Wrong::DuplicateKey);
        self.locate(&error.at, of_key)
    }

    /// The place in the file of a part of the configuration.
    pub(crate) fn locate(&self, place: &str, of_key: bool) -> Position {
        match &self.tree {
            Some(tree) => tree.locate(place, of_key),
            // The parser of JSON says where it gave up; counted from where the text begins.
            None => match serde_json::from_slice::<serde::de::IgnoredAny>(&self.bytes) {
                Err(error) if error.line() == 1 => Position {
                    column: self.at.column.saturating_add(error.column()).saturating_sub(1),
                    ..self.at
                },
                Err(error) => Position {
                    line: self.at.line.saturating_add(error.line()).saturating_sub(1),
                    column: self.at.column.saturating_add(error.column()).saturating_sub(1),
                },
                Ok(_) => self.at,
            },
        }
    }

    /// Whether the request's head is held: the default.
    pub(crate) fn holds_head(&self) -> bool {
        !self
            .tree
            .as_ref()
            .and_then(|tree| tree.get("hold_request_head"))
            .is_some_and(|value| value.is(false))
    }

    /// The environment variables that the module is given; nothing where the file does not tell.
    pub(crate) fn passed_variables(&self) -> Option<BTreeSet<String>> {
        let around = self.around.as_ref()?;
        let texts = |list: Option<&Tree>| -> Vec<String> {
            list.into_iter().flat_map(Tree::items).filter_map(Tree::text).map(str::to_owned).collect()
        };
        Some(match self.holder {
            // The variables of a process are told by no file.
            Holder::File | Holder::Native | Holder::NativeRoute | Holder::NativeExtensionPolicy => {
                return None;
            }
            Holder::Envoy => {
                let variables = around.path(&["vm_config", "environment_variables"]);
                let pairs = variables.and_then(|variables| variables.get("key_values"));
                let written = match pairs.map(|pairs| &pairs.value) {
                    Some(Kind::Object(members)) => members.iter().map(|(name, ..)| name.clone()).collect(),
                    _ => Vec::new(),
                };
                let passed = texts(variables.and_then(|variables| variables.get("host_env_keys")));
                passed.into_iter().chain(written).collect()
            }
            Holder::WasmPlugin => {
                let entries = around.path(&["vmConfig", "env"]).map_or(&[][..], Tree::items);
                entries.iter().filter_map(|entry| entry.get("name")?.text()).map(str::to_owned).collect()
            }
            Holder::EnvoyExtensionPolicy => texts(around.path(&["env", "hostKeys"])).into_iter().collect(),
        })
    }
}

/// Reads a file and finds the configurations in it.
pub(crate) fn read(path: &Path) -> Result<File, Failure> {
    let bytes = crate::input::capture::read_file(path)?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::at(path, "is not UTF-8"))?;
    let path = path.to_owned();
    match located_yaml::read(&text) {
        Ok(documents) => {
            let mut plugins: Vec<Plugin> = documents.iter().flat_map(find::all).collect();
            // JSON alone is handed to the parser as it stands, so that it sees what a YAML reader forgives.
            if let [only] = plugins.as_mut_slice()
                && only.holder == Holder::File
                && text.trim_start().starts_with('{')
            {
                only.bytes = text.into_bytes();
            }
            Ok(File { path, documents, plugins })
        }
        Err(_) if text.trim_start().starts_with('{') => {
            let at = Position::START;
            let (bytes, name) = (text.into_bytes(), String::new());
            let plugin = Plugin { holder: Holder::File, name, around: None, bytes, tree: None, at };
            Ok(File { path, documents: Vec::new(), plugins: vec![plugin] })
        }
        Err(error) => Err(Failure::at(&path, format!("is neither YAML nor JSON: {error}"))),
    }
}

/// The one configuration that a question is about.
#[derive(Debug, Args)]
pub(crate) struct ConfigurationArguments {
    /// The configuration: JSON, or a file of Envoy, Istio or Envoy Gateway that holds it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Which configuration of the file, counted from 1, where it holds several
    #[arg(long, value_name = "N")]
    plugin: Option<usize>,
    #[command(flatten)]
    environment: EnvironmentArguments,
}

impl ConfigurationArguments {
    /// Reads it as the filter would, and its variables.
    pub(crate) fn read(&self) -> Result<(Configuration, Environment), Failure> {
        self.read_all().map(|(configuration, environment, ..)| (configuration, environment))
    }

    /// The same with every text that a token could be: the core keeps nothing of a token but its fingerprint.
    pub(crate) fn read_with_texts(&self) -> Result<(Configuration, Vec<String>), Failure> {
        let (configuration, environment, bytes, files) = self.read_all()?;
        let mut texts = Vec::new();
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        collect(&value, &mut texts);
        let named: Vec<String> = texts.iter().filter_map(|name| environment.get(name)).collect();
        for text in named.into_iter().chain(files) {
            // A variable may hold several secrets, as members of a JSON object.
            collect(&serde_json::from_str(&text).unwrap_or_default(), &mut texts);
            let line = text.strip_suffix('\n').unwrap_or(&text);
            texts.push(line.strip_suffix('\r').unwrap_or(line).to_owned());
        }
        Ok((configuration, texts))
    }

    /// The configuration, its variables, its bytes, and the content of the files that hold secrets of it.
    fn read_all(&self) -> Result<(Configuration, Environment, Vec<u8>, Vec<String>), Failure> {
        let fail = |what: String| Failure::at(&self.config, what);
        let environment = self.environment.read()?;
        let file = read(&self.config)?;
        let plugin = match (self.plugin, file.plugins.as_slice()) {
            (_, []) => return Err(fail("holds no configuration of webhook-guard".to_owned())),
            (None, [only]) => only,
            (None, several) => {
                return Err(fail(format!(
                    "holds {} configurations; choose one with --plugin",
                    several.len()
                )));
            }
            (Some(number), all) => {
                let index = number.checked_sub(1).and_then(|index| all.get(index));
                index.ok_or_else(|| fail(format!("holds {} configurations, no {number}", all.len())))?
            }
        };
        let secrets = NamedSecrets::new(&environment);
        let configuration = plugin.configuration(&secrets).map_err(|report| {
            let all = std::iter::once(&report.first).chain(&report.others);
            let lines = all.map(|error| {
                let Position { line, column } = plugin.position(error);
                format!("{}:{line}:{column}: {error}", self.config.display())
            });
            Failure::lines(lines)
        })?;
        let files = secrets.known_files();
        Ok((configuration, environment, plugin.bytes.clone(), files))
    }
}

/// Every text in a JSON value.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(members) => members.values().for_each(|member| collect(member, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
