//! Options that several commands have.
//!
//! Responsible for reading times, sizes and the gateway with its key.

use crate::resubmit::Gateway;
use clap::Args;
use std::path::PathBuf;

/// Where messages are kept.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArguments {
    /// The database; SQLite keeps files beside it
    #[arg(long, value_name = "FILE", default_value = "webhook-guard-messages.db")]
    pub(crate) database: PathBuf,
}

/// Where messages are sent again.
#[derive(Debug, Args)]
pub(crate) struct GatewayArguments {
    /// The gateway to which messages are sent again, such as https://gateway.internal:8443
    #[arg(long, value_name = "URL", requires = "operator_key_file")]
    gateway: Option<String>,
    /// The file with the operator's key: that of the provider `operator` in the gateway's configuration
    #[arg(long, value_name = "FILE", requires = "gateway")]
    operator_key_file: Option<PathBuf>,
    /// How old a message may be that is sent again
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    resubmit_within: i64,
}

impl GatewayArguments {
    /// The gateway, where one is given.
    pub(crate) fn read(&self) -> Result<Option<Gateway>, String> {
        let given = self.gateway.as_ref().zip(self.operator_key_file.as_deref());
        given.map(|(url, key)| Gateway::new(url, key, self.resubmit_within)).transpose()
    }
}

/// A time such as `7d`, `36h`, `90m` or `30s`, in milliseconds.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    quantity(text, &units)
        .ok_or_else(|| "must be a whole number with its unit, such as 7d, 36h, 90m or 30s".to_owned())
}

/// A size such as `10GiB` or `512MiB`, in bytes.
pub(crate) fn size(text: &str) -> Result<i64, String> {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)];
    quantity(text, &units)
        .ok_or_else(|| "must be a whole number with its unit, such as 10GiB or 512MiB".to_owned())
}

fn quantity(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let (unit, number) = units.iter().find_map(|(name, unit)| Some((unit, text.strip_suffix(name)?)))?;
    let is_whole = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = number.parse().ok().filter(|number| is_whole && *number > 0)?;
    number.checked_mul(*unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_has_its_unit() {
        assert_eq!(duration("7d"), Ok(604_800_000));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        for wrong in ["", "7", "d", "0d", "-1d", "+1d", "1.5h", "99999999999999d", "7 d", "7w"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
