//! The micro benchmark of the core inside V8: runs while it is configured, and logs one line a row.

use proxy_wasm::traits::{Context, RootContext};
use proxy_wasm::types::LogLevel;
use webhook_guard_bench::core;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Bench) });
}}

struct Bench;

impl Context for Bench {}

impl RootContext for Bench {
    fn on_configure(&mut self, _: usize) -> bool {
        core::run(&mut |group, name, nanoseconds| {
            let line = format!("core\t{group}\t{name}\t{nanoseconds}");
            proxy_wasm::hostcalls::log(LogLevel::Warn, &line).unwrap();
        });
        true
    }
}
