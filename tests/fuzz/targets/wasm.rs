//! The core that is compiled to WebAssembly says of any request, word for word, what the native one says of it; no request makes it
//! trap, and its memory does not grow with their number.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::sync::LazyLock;
use wasmi::{Config, Engine, Extern, ExternType, Func, Linker, Memory, Module, Store, TypedFunc};
use webhook_guard_core::config::Configuration;
use webhook_guard_fuzz::{Request, configuration};

/// What the core may take of memory, in pages of 64 KiB: the configuration, and one request of 4 KiB.
const MOST_PAGES: u64 = 256;

static CONFIGURATION: LazyLock<Configuration> = LazyLock::new(configuration);

thread_local! {
    static GUEST: RefCell<Guest> = RefCell::new(Guest::start());
}

struct Guest {
    store: Store<()>,
    memory: Memory,
    room: TypedFunc<i32, ()>,
    place: TypedFunc<(), i32>,
    answer: TypedFunc<(), i32>,
}

impl Guest {
    /// Starts the module that `.ci/fuzz` has built.
    fn start() -> Self {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../target/fuzz/wasm32-wasip1/release/examples/guest.wasm"
        );
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let engine = Engine::new(&Config::default());
        let module = Module::new(&engine, &bytes).unwrap();
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        for import in module.imports() {
            let ExternType::Func(kind) = import.ty().clone() else { panic!("{}", import.name()) };
            // Nothing of the world: no clock, no environment, no file. All zeros stand for success.
            let nothing = Func::new(&mut store, kind, |_, _, _| Ok(()));
            linker.define(import.module(), import.name(), nothing).unwrap();
        }
        let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
        if let Some(Extern::Func(initialize)) = instance.get_export(&store, "_initialize") {
            initialize.call(&mut store, &[], &mut []).unwrap();
        }
        Self {
            memory: instance.get_memory(&store, "memory").unwrap(),
            room: instance.get_typed_func(&store, "room").unwrap(),
            place: instance.get_typed_func(&store, "place").unwrap(),
            answer: instance.get_typed_func(&store, "answer").unwrap(),
            store,
        }
    }

    fn answer(&mut self, bytes: &[u8]) -> String {
        self.room.call(&mut self.store, i32::try_from(bytes.len()).unwrap()).unwrap();
        let place = self.place();
        self.memory.write(&mut self.store, place, bytes).unwrap();
        let length =
            self.answer.call(&mut self.store, ()).unwrap_or_else(|trap| panic!("it trapped: {trap}"));
        let mut answer = vec![0; usize::try_from(length).unwrap()];
        let place = self.place();
        self.memory.read(&self.store, place, &mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn place(&mut self) -> usize {
        self.place.call(&mut self.store, ()).unwrap().cast_unsigned().try_into().unwrap()
    }
}

fuzz_target!(|bytes: &[u8]| {
    let native = Request::read(bytes).answer(&CONFIGURATION);
    let wasm = GUEST.with_borrow_mut(|guest| {
        let answer = guest.answer(bytes);
        assert!(guest.memory.size(&guest.store) <= MOST_PAGES);
        answer
    });
    assert_eq!(native, wasm);
});
