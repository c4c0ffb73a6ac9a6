//! The core that is compiled to WebAssembly says of any request, word for word, what the native one says of it; no request makes it
//! trap, and its memory does not grow with their number. Part of the requests is signed validly, as a line of theirs asks for it.

#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use libfuzzer_sys::fuzz_target;
use ring::hmac;
use std::cell::RefCell;
use std::sync::LazyLock;
use wasmi::{Config, Engine, Extern, ExternType, Func, Linker, Memory, Module, Store, TypedFunc};
use webhook_guard_core::config::Configuration;
use webhook_guard_fuzz::{Request, configuration, secret, sender};

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

/// The request with the tags of who knows the secret: in the lines of headers, `<v0:*>` stands for the tag of `v0:` and the body in
/// hexadecimal, `[v0:*]` for the same in base64, and `$` for the secret itself.
fn signed(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (mut head, rest) = bytes.split_at(end);
    let body = rest.get(2..).unwrap_or_default();
    let key = secret("KEY");
    let mut request = Vec::new();
    while let Some((first, after)) = head.split_first() {
        let close = match first {
            b'<' => b'>',
            b'[' => b']',
            _ => 0,
        };
        head = after;
        match after.iter().position(|byte| *byte == close) {
            Some(length) if close != 0 => {
                let content: Vec<u8> = after[..length]
                    .iter()
                    .flat_map(|byte| if *byte == b'*' { body } else { std::slice::from_ref(byte) })
                    .copied()
                    .collect();
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), &content);
                let text =
                    if close == b'>' { sender::hex(tag.as_ref()) } else { BASE64_STANDARD.encode(tag) };
                request.extend(text.bytes());
                head = &after[length + 1..];
            }
            _ if *first == b'$' => request.extend(key.bytes()),
            _ => request.push(*first),
        }
    }
    request.extend(rest);
    request
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = &signed(bytes)[..];
    let native = Request::read(bytes).answer(&CONFIGURATION);
    let wasm = GUEST.with_borrow_mut(|guest| {
        let answer = guest.answer(bytes);
        assert!(guest.memory.size(&guest.store) <= MOST_PAGES);
        answer
    });
    assert_eq!(native, wasm);
});
