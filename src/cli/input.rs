//! What the operator gives: captured requests, configuration files, files of variables.
//!
//! Responsible for reading them as they are, and for saying where in them something stands.

pub(crate) mod capture;
pub(crate) mod config_files;
pub(crate) mod env_file;
pub(crate) mod located_yaml;
pub(crate) mod named_secrets;
pub(crate) mod regular_file;
