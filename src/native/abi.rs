//! Envoy's side: the functions that it exports to dynamic modules, and the hooks by which it calls this one.
//!
//! Responsible for all unsafe code of the crate: it turns pointers into borrowed bytes and counted references, and
//! statuses into values. Declared by hand after `source/extensions/dynamic_modules/abi/abi.h` of Envoy 1.38 (ABI v0.1.0);
//! Envoy 1.39 and 1.40 (v0.2.0) export the same functions. The library is linked with BIND_NOW, so that an Envoy which
//! lacks one of them refuses to load it.
#![expect(unsafe_code, reason = "the one module that calls the host's C functions and is called by it")]

use crate::callbacks::{self, Flow, Guard, Plugin, Request};
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{null, null_mut};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use webhook_guard_core::request::Headers;

/// What the module says it was built for. An Envoy of the same or the next minor version takes it silently, others warn;
/// 1.36 and 1.37 compare a hash of the header instead, and refuse it.
const ABI_VERSION: &CStr = c"v0.2.0";

/// The host refused a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault;

/// `envoy_dynamic_module_type_module_buffer`, and `…_envoy_buffer`, which has the same shape.
#[repr(C)]
#[derive(Clone, Copy)]
struct Buffer {
    data: *const u8,
    length: usize,
}

/// `envoy_dynamic_module_type_module_http_header`, and `…_envoy_http_header`, which has the same shape.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    name: Buffer,
    value: Buffer,
}

impl Buffer {
    /// No buffer: as a value it removes a header, as details it is none.
    const NONE: Self = Self { data: null(), length: 0 };

    const fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), length: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// They are Envoy's, and stay as they are for as long as the result is used.
    const unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: as promised by the caller.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

/// The levels of a log line (`envoy_dynamic_module_type_log_level`).
#[derive(Clone, Copy)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    const fn number(self) -> u32 {
        match self {
            Self::Debug => 1,
            Self::Info => 2,
            Self::Warn => 3,
            Self::Error => 4,
        }
    }
}

/// A header map (`envoy_dynamic_module_type_http_header_type`).
#[derive(Clone, Copy)]
pub(crate) enum Map {
    RequestHeaders,
    RequestTrailers,
}

impl Map {
    const fn number(self) -> u32 {
        match self {
            Self::RequestHeaders => 0,
            Self::RequestTrailers => 1,
        }
    }
}

/// A body (`envoy_dynamic_module_type_http_body_type`).
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// What came with this event.
    Received,
    /// What the host holds since earlier ones.
    Buffered,
}

impl Body {
    const fn number(self) -> u32 {
        match self {
            Self::Received => 0,
            Self::Buffered => 1,
        }
    }
}

/// What can be asked for as an attribute (`envoy_dynamic_module_type_attribute_id`).
#[derive(Clone, Copy)]
pub(crate) enum Attribute {
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    SourceAddress,
    PeerCertificateSubject,
    PeerCertificateDns,
    PeerCertificateUri,
    PeerCertificateSha256,
    UpstreamAddress,
}

impl Attribute {
    const fn number(self) -> u32 {
        match self {
            Self::ResponseCode => 15,
            Self::ResponseCodeDetails => 16,
            Self::ResponseFlags => 17,
            Self::SourceAddress => 24,
            Self::PeerCertificateSubject => 33,
            Self::PeerCertificateDns => 35,
            Self::PeerCertificateUri => 37,
            Self::PeerCertificateSha256 => 38,
            Self::UpstreamAddress => 41,
        }
    }
}

/// `envoy_dynamic_module_type_metadata_source`: the route's.
const ROUTE: u32 = 1;
/// `envoy_dynamic_module_type_metrics_result`, `…_http_callout_init_result` and `…_http_callout_result`: success.
const SUCCESS: u32 = 0;
/// `envoy_dynamic_module_type_http_callout_init_result`: there is no such cluster.
const CLUSTER_NOT_FOUND: u32 = 2;

unsafe extern "C" {
    fn envoy_dynamic_module_callback_log(level: u32, message: Buffer);
    fn envoy_dynamic_module_callback_log_enabled(level: u32) -> bool;
    fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_define_histogram(
        config: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_define_gauge(
        config: *mut c_void,
        name: Buffer,
        labels: *const Buffer,
        label_count: usize,
        id: *mut usize,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_set_gauge(
        stream: *mut c_void,
        id: usize,
        labels: *const Buffer,
        label_count: usize,
        value: u64,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_increment_counter(
        stream: *mut c_void,
        id: usize,
        labels: *const Buffer,
        label_count: usize,
        value: u64,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_record_histogram_value(
        stream: *mut c_void,
        id: usize,
        labels: *const Buffer,
        label_count: usize,
        value: u64,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_get_headers_size(stream: *mut c_void, map: u32) -> usize;
    fn envoy_dynamic_module_callback_http_get_headers(
        stream: *mut c_void,
        map: u32,
        headers: *mut Header,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_set_header(
        stream: *mut c_void,
        map: u32,
        name: Buffer,
        value: Buffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_add_header(
        stream: *mut c_void,
        map: u32,
        name: Buffer,
        value: Buffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_send_response(
        stream: *mut c_void,
        status: u32,
        headers: *const Header,
        header_count: usize,
        body: Buffer,
        details: Buffer,
    );
    fn envoy_dynamic_module_callback_http_get_body_chunks_size(stream: *mut c_void, body: u32) -> usize;
    fn envoy_dynamic_module_callback_http_get_body_chunks(
        stream: *mut c_void,
        body: u32,
        chunks: *mut Buffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_get_body_size(stream: *mut c_void, body: u32) -> usize;
    fn envoy_dynamic_module_callback_http_received_buffered_request_body(stream: *mut c_void) -> bool;
    fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        stream: *mut c_void,
        name: Buffer,
        value: Buffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        stream: *mut c_void,
        attribute: u32,
        value: *mut Buffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_filter_get_attribute_int(
        stream: *mut c_void,
        attribute: u32,
        value: *mut u64,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_get_metadata_string(
        stream: *mut c_void,
        source: u32,
        namespace: Buffer,
        key: Buffer,
        value: *mut Buffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_get_metadata_keys_count(
        stream: *mut c_void,
        source: u32,
        namespace: Buffer,
    ) -> usize;
    fn envoy_dynamic_module_callback_http_get_metadata_keys(
        stream: *mut c_void,
        source: u32,
        namespace: Buffer,
        keys: *mut Buffer,
    ) -> bool;
    fn envoy_dynamic_module_callback_get_most_specific_route_config(stream: *mut c_void) -> *const c_void;
    fn envoy_dynamic_module_callback_http_filter_http_callout(
        stream: *mut c_void,
        callout: *mut u64,
        cluster: Buffer,
        headers: *const Header,
        header_count: usize,
        body: Buffer,
        timeout: u64,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_continue_decoding(stream: *mut c_void);
    fn envoy_dynamic_module_callback_http_filter_config_http_callout(
        config: *mut c_void,
        callout: *mut u64,
        cluster: Buffer,
        headers: *const Header,
        header_count: usize,
        body: Buffer,
        timeout: u64,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(config: *mut c_void) -> *mut c_void;
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(scheduler: *mut c_void, event: u64);
    fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(scheduler: *mut c_void);
}

type Record = unsafe extern "C" fn(*mut c_void, usize, *const Buffer, usize, u64) -> u32;

/// Functions that not every host has: a library that calls them by name is not loaded by one that lacks them.
static INCREMENT_COUNTER: LazyLock<Option<Record>> =
    LazyLock::new(|| find(c"envoy_dynamic_module_callback_http_filter_config_increment_counter"));
static SET_GAUGE: LazyLock<Option<Record>> =
    LazyLock::new(|| find(c"envoy_dynamic_module_callback_http_filter_config_set_gauge"));

fn find(name: &CStr) -> Option<Record> {
    unsafe extern "C" {
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    // SAFETY: null is `RTLD_DEFAULT` (glibc, dlfcn.h): all that the process has. The name is one of the host's, whose functions
    // of that name have that form (abi.h of Envoy 1.40).
    unsafe {
        let found = dlsym(null_mut(), name.as_ptr());
        (!found.is_null()).then(|| std::mem::transmute::<*mut c_void, Record>(found))
    }
}

/// Writes a line to Envoy's log, under its component `dynamic_modules`, which all dynamic modules share.
pub(crate) fn log(level: LogLevel, line: &str) {
    let line = format!("webhook_guard: {line}");
    // SAFETY: the host reads the line during the call only.
    unsafe { envoy_dynamic_module_callback_log(level.number(), Buffer::of(line.as_bytes())) }
}

/// Whether lines of that level are written just now: the level changes live.
pub(crate) fn is_logged(level: LogLevel) -> bool {
    // SAFETY: no pointer is passed.
    unsafe { envoy_dynamic_module_callback_log_enabled(level.number()) }
}

/// A kind of metric.
#[derive(Clone, Copy)]
pub(crate) enum Metric {
    Counter,
    Gauge,
    Histogram,
}

/// An HTTP request that the host is to make to one of its clusters.
#[derive(Debug)]
pub(crate) struct Callout<'c> {
    /// The name of the cluster.
    pub(crate) cluster: &'c str,
    /// The headers, `:method`, `:path` and `:authority` among them.
    pub(crate) headers: &'c [(&'c str, &'c str)],
    /// The body.
    pub(crate) body: &'c [u8],
    /// How long it may take, in milliseconds.
    pub(crate) timeout: u32,
}

type CallOut = unsafe extern "C" fn(*mut c_void, *mut u64, Buffer, *const Header, usize, Buffer, u64) -> u32;

impl Callout<'_> {
    /// # Safety
    /// The caller is what `call_out` expects.
    unsafe fn make(&self, caller: *mut c_void, call_out: CallOut) -> Result<u64, NotCalled> {
        let of = |text: &str| Buffer::of(text.as_bytes());
        let headers: Vec<Header> =
            self.headers.iter().map(|(name, value)| Header { name: of(name), value: of(value) }).collect();
        let (cluster, body) = (of(self.cluster), Buffer::of(self.body));
        let mut id = 0;
        // SAFETY: the host reads all of it during the call only; `id` is valid for writes.
        let result = unsafe {
            let timeout = u64::from(self.timeout);
            call_out(caller, &raw mut id, cluster, headers.as_ptr(), headers.len(), body, timeout)
        };
        match result {
            SUCCESS => Ok(id),
            CLUSTER_NOT_FOUND => Err(NotCalled::NoCluster),
            _ => Err(NotCalled::Refused),
        }
    }
}

/// Why a [`Callout`] was not made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotCalled {
    /// The host has no cluster of that name.
    NoCluster,
    /// It has, and sends nothing there.
    Refused,
}

/// What came of a [`Callout`].
#[derive(Debug)]
pub(crate) struct CalloutAnswer {
    /// The headers of the response.
    pub(crate) headers: Headers,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl CalloutAnswer {
    /// Nothing where there was no response.
    ///
    /// # Safety
    /// The pointers are those that the host passed to the hook that is running.
    unsafe fn new(
        result: u32,
        headers: *const Header,
        header_count: usize,
        chunks: *const Buffer,
        chunk_count: usize,
    ) -> Option<Self> {
        if result != SUCCESS || headers.is_null() {
            return None;
        }
        // SAFETY: as promised by the caller; all of it is copied at once.
        unsafe {
            let headers = std::slice::from_raw_parts(headers, header_count);
            let headers =
                Headers::from_pairs(headers.iter().map(|one| (one.name.bytes(), one.value.bytes())));
            let chunks = if chunks.is_null() { &[] } else { std::slice::from_raw_parts(chunks, chunk_count) };
            let body = chunks.iter().flat_map(|chunk| chunk.bytes()).copied().collect();
            Some(Self { headers, body })
        }
    }
}

/// What the main thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Claims are to be settled.
    Settle,
    /// Feeds may be due.
    Feeds,
}

impl Event {
    const fn number(self) -> u64 {
        match self {
            Self::Settle => 0,
            Self::Feeds => 1,
        }
    }
}

/// Has [`crate::callbacks::scheduled`] called on the host's main thread, from any thread; never once the configuration is
/// gone.
#[derive(Debug)]
pub(crate) struct Scheduler(*mut c_void);

// SAFETY: the host's scheduler posts to the dispatcher of its main thread, which any thread may do.
unsafe impl Send for Scheduler {}
// SAFETY: the same.
unsafe impl Sync for Scheduler {}

impl Scheduler {
    pub(crate) fn schedule(&self, event: Event) {
        // SAFETY: the scheduler lives as long as this.
        unsafe { envoy_dynamic_module_callback_http_filter_config_scheduler_commit(self.0, event.number()) }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: it is deleted once, and not used any more.
        unsafe { envoy_dynamic_module_callback_http_filter_config_scheduler_delete(self.0) }
    }
}

/// The host's side of a configuration: while it is made, when metrics can be defined, and later on the main thread.
pub(crate) struct HostConfiguration(*mut c_void);

impl HostConfiguration {
    /// What schedules events of the configuration.
    pub(crate) fn scheduler(&self) -> Scheduler {
        // SAFETY: no pointer but the configuration's is passed.
        Scheduler(unsafe { envoy_dynamic_module_callback_http_filter_config_scheduler_new(self.0) })
    }

    /// What tells it from other configurations.
    pub(crate) fn id(&self) -> usize {
        self.0.addr()
    }

    /// Makes a request, on the main thread, and gives its id.
    pub(crate) fn call_out(&self, callout: &Callout<'_>) -> Result<u64, NotCalled> {
        // SAFETY: the caller is a configuration.
        unsafe { callout.make(self.0, envoy_dynamic_module_callback_http_filter_config_http_callout) }
    }

    /// Adds to a counter, or sets a gauge, without a request. False where the host can do that for requests only: the
    /// functions for it came after Envoy 1.38.
    pub(crate) fn record(&self, kind: Metric, id: usize, labels: &[&str], value: u64) -> bool {
        let record = match kind {
            Metric::Counter => &INCREMENT_COUNTER,
            Metric::Gauge => &SET_GAUGE,
            Metric::Histogram => return false,
        };
        let Some(record) = *LazyLock::force(record) else { return false };
        let labels: Vec<Buffer> = labels.iter().map(|label| Buffer::of(label.as_bytes())).collect();
        // SAFETY: the host reads the labels during the call only. A metric that it refuses decides nothing.
        unsafe { record(self.0, id, labels.as_ptr(), labels.len(), value) };
        true
    }

    /// The id of a metric with these labels.
    pub(crate) fn define(&self, kind: Metric, name: &str, labels: &[&str]) -> Result<usize, Fault> {
        let define = match kind {
            Metric::Counter => envoy_dynamic_module_callback_http_filter_config_define_counter,
            Metric::Gauge => envoy_dynamic_module_callback_http_filter_config_define_gauge,
            Metric::Histogram => envoy_dynamic_module_callback_http_filter_config_define_histogram,
        };
        let labels: Vec<Buffer> = labels.iter().map(|label| Buffer::of(label.as_bytes())).collect();
        let (name, mut id) = (Buffer::of(name.as_bytes()), 0);
        // SAFETY: the host reads name and labels during the call only; `id` is valid for writes.
        match unsafe { define(self.0, name, labels.as_ptr(), labels.len(), &raw mut id) } {
            SUCCESS => Ok(id),
            _ => Err(Fault),
        }
    }
}

/// The host's side of a request, for as long as a hook runs.
pub(crate) struct Stream<'h> {
    stream: *mut c_void,
    hook: PhantomData<&'h ()>,
}

impl Stream<'_> {
    /// A copy of a header map.
    pub(crate) fn headers(&self, map: Map) -> Result<Headers, Fault> {
        // SAFETY: no pointer but the stream's is passed.
        let count = unsafe { envoy_dynamic_module_callback_http_get_headers_size(self.stream, map.number()) };
        let mut headers = vec![Header { name: Buffer::NONE, value: Buffer::NONE }; count];
        // SAFETY: there is room for as many headers as the host has just counted.
        let is_had = unsafe {
            envoy_dynamic_module_callback_http_get_headers(self.stream, map.number(), headers.as_mut_ptr())
        };
        // SAFETY: the bytes stay as they are until the host is told to change a header, and are copied before that.
        let pairs = headers.iter().map(|one| unsafe { (one.name.bytes(), one.value.bytes()) });
        if is_had { Ok(Headers::from_pairs(pairs)) } else { Err(Fault) }
    }

    /// Sets a header in place of all others of that name.
    pub(crate) fn set_header(&self, map: Map, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let (name, value) = (Buffer::of(name), Buffer::of(value));
        // SAFETY: the host reads name and value during the call only.
        done(unsafe { envoy_dynamic_module_callback_http_set_header(self.stream, map.number(), name, value) })
    }

    /// Removes every header of that name.
    pub(crate) fn remove_header(&self, map: Map, name: &[u8]) -> Result<(), Fault> {
        let (name, value) = (Buffer::of(name), Buffer::NONE);
        // SAFETY: the host reads the name during the call only; a value that is null removes the header.
        done(unsafe { envoy_dynamic_module_callback_http_set_header(self.stream, map.number(), name, value) })
    }

    /// Adds a header of which there is none. To set it, the host would look through all others.
    pub(crate) fn add_header(&self, map: Map, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let (name, value) = (Buffer::of(name), Buffer::of(value));
        // SAFETY: the host reads name and value during the call only.
        done(unsafe { envoy_dynamic_module_callback_http_add_header(self.stream, map.number(), name, value) })
    }

    /// Calls `take` with each piece of a body, in order, until it says no.
    pub(crate) fn body(&self, body: Body, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), Fault> {
        // SAFETY: no pointer but the stream's is passed.
        let count =
            unsafe { envoy_dynamic_module_callback_http_get_body_chunks_size(self.stream, body.number()) };
        if count == 0 {
            return Ok(());
        }
        let mut chunks = vec![Buffer::NONE; count];
        // SAFETY: there is room for as many pieces as the host has just counted.
        let is_had = unsafe {
            envoy_dynamic_module_callback_http_get_body_chunks(
                self.stream,
                body.number(),
                chunks.as_mut_ptr(),
            )
        };
        if !is_had {
            return Err(Fault);
        }
        for chunk in chunks {
            // SAFETY: the bytes stay as they are until the host is told to change the body, which nobody does.
            if !take(unsafe { chunk.bytes() }) {
                break;
            }
        }
        Ok(())
    }

    /// The length of a body.
    pub(crate) fn body_length(&self, body: Body) -> usize {
        // SAFETY: no pointer but the stream's is passed.
        unsafe { envoy_dynamic_module_callback_http_get_body_size(self.stream, body.number()) }
    }

    /// Whether what came with this event is what the host holds: another filter had held it before.
    pub(crate) fn is_received_buffered(&self) -> bool {
        // SAFETY: no pointer but the stream's is passed.
        unsafe { envoy_dynamic_module_callback_http_received_buffered_request_body(self.stream) }
    }

    /// An attribute that is a text; nothing where it is not known.
    pub(crate) fn text(&self, attribute: Attribute) -> Option<Vec<u8>> {
        let mut value = Buffer::NONE;
        // SAFETY: `value` is valid for writes.
        let is_had = unsafe {
            envoy_dynamic_module_callback_http_filter_get_attribute_string(
                self.stream,
                attribute.number(),
                &raw mut value,
            )
        };
        // SAFETY: the bytes are copied at once.
        is_had.then(|| unsafe { value.bytes() }.to_vec())
    }

    /// An attribute that is a number; nothing where it is not known.
    pub(crate) fn number(&self, attribute: Attribute) -> Option<u64> {
        let mut value = 0;
        // SAFETY: `value` is valid for writes.
        let is_had = unsafe {
            envoy_dynamic_module_callback_http_filter_get_attribute_int(
                self.stream,
                attribute.number(),
                &raw mut value,
            )
        };
        is_had.then_some(value)
    }

    /// The text under a key of the route's metadata; empty where something else stands there.
    pub(crate) fn route_metadata(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        let (namespace, mut value) = (Buffer::of(namespace.as_bytes()), Buffer::NONE);
        // SAFETY: no pointer but the stream's and the name's is passed.
        let count = unsafe {
            envoy_dynamic_module_callback_http_get_metadata_keys_count(self.stream, ROUTE, namespace)
        };
        if count == 0 {
            return Ok(None);
        }
        let mut keys = vec![Buffer::NONE; count];
        // SAFETY: there is room for as many keys as the host has just counted.
        let is_had = unsafe {
            envoy_dynamic_module_callback_http_get_metadata_keys(
                self.stream,
                ROUTE,
                namespace,
                keys.as_mut_ptr(),
            )
        };
        if !is_had {
            return Err(Fault);
        }
        // SAFETY: the keys are the route's, which the stream holds.
        if !keys.into_iter().any(|one| unsafe { one.bytes() } == key.as_bytes()) {
            return Ok(None);
        }
        // SAFETY: the host reads both names during the call only; `value` is valid for writes.
        let is_text = unsafe {
            envoy_dynamic_module_callback_http_get_metadata_string(
                self.stream,
                ROUTE,
                namespace,
                Buffer::of(key.as_bytes()),
                &raw mut value,
            )
        };
        // SAFETY: the bytes are copied at once.
        Ok(Some(if is_text { unsafe { value.bytes() }.to_vec() } else { Vec::new() }))
    }

    /// The configuration that `typed_per_filter_config` has for the route, if it has one.
    pub(crate) fn route_guard(&self) -> Option<Arc<Guard>> {
        // SAFETY: no pointer but the stream's is passed.
        let guard = unsafe { envoy_dynamic_module_callback_get_most_specific_route_config(self.stream) };
        // SAFETY: it is what `on_http_filter_per_route_config_new` made, and the route, which the stream holds, owns it.
        (!guard.is_null()).then(|| unsafe { counted(guard.cast()) })
    }

    /// Keeps a text as filter state, for access logs and other filters.
    pub(crate) fn set_filter_state(&self, name: &str, value: &str) -> bool {
        let (name, value) = (Buffer::of(name.as_bytes()), Buffer::of(value.as_bytes()));
        // SAFETY: the host reads both during the call only.
        unsafe { envoy_dynamic_module_callback_http_set_filter_state_bytes(self.stream, name, value) }
    }

    /// Adds to a counter, adds a value to a histogram, or makes it that of a gauge.
    pub(crate) fn record(&self, kind: Metric, id: usize, labels: &[&str], value: u64) {
        let record = match kind {
            Metric::Counter => envoy_dynamic_module_callback_http_filter_increment_counter,
            Metric::Gauge => envoy_dynamic_module_callback_http_filter_set_gauge,
            Metric::Histogram => envoy_dynamic_module_callback_http_filter_record_histogram_value,
        };
        let mut buffers = [Buffer::NONE; 3];
        for (buffer, label) in buffers.iter_mut().zip(labels) {
            *buffer = Buffer::of(label.as_bytes());
        }
        // SAFETY: the host reads the labels during the call only. A metric that it refuses decides nothing.
        unsafe { record(self.stream, id, buffers.as_ptr(), labels.len().min(buffers.len()), value) };
    }

    /// Makes a request while this one waits. Its answer is told by [`crate::callbacks::called_out`].
    pub(crate) fn call_out(&self, callout: &Callout<'_>) -> Result<u64, Fault> {
        // SAFETY: the caller is a stream.
        unsafe { callout.make(self.stream, envoy_dynamic_module_callback_http_filter_http_callout) }
            .map_err(|_| Fault)
    }

    /// Lets the request go on. The host may end it, and call its hooks, before this returns.
    pub(crate) fn resume(&self) {
        // SAFETY: no pointer but the stream's is passed.
        unsafe { envoy_dynamic_module_callback_http_filter_continue_decoding(self.stream) }
    }

    /// Replies to the request. The host may end it, and call its hooks, before this returns.
    pub(crate) fn reply(&self, status: u16, headers: &[(String, String)], body: &str, details: &str) {
        let of = |text: &String| Buffer::of(text.as_bytes());
        let headers: Vec<Header> =
            headers.iter().map(|(name, value)| Header { name: of(name), value: of(value) }).collect();
        // SAFETY: the host reads all of it during the call only.
        unsafe {
            envoy_dynamic_module_callback_http_send_response(
                self.stream,
                u32::from(status),
                headers.as_ptr(),
                headers.len(),
                Buffer::of(body.as_bytes()),
                Buffer::of(details.as_bytes()),
            );
        }
    }
}

const fn done(is_done: bool) -> Result<(), Fault> {
    if is_done { Ok(()) } else { Err(Fault) }
}

/// Another reference to what the host holds one of.
///
/// # Safety
/// The pointer came from `Arc::into_raw` and has not been given back.
unsafe fn counted<T>(held: *const T) -> Arc<T> {
    // SAFETY: as promised by the caller.
    unsafe {
        Arc::increment_strong_count(held);
        Arc::from_raw(held)
    }
}

/// A request, also when the host ends it while it is being used.
type Handle = RefCell<Request>;

/// Another reference to a request; nothing where none could be made.
///
/// # Safety
/// The pointer is null, or came from `on_http_filter_new` and has not been destroyed. A request stays with one thread.
unsafe fn request(held: *const Handle) -> Option<Rc<Handle>> {
    // SAFETY: as promised by the caller.
    (!held.is_null()).then(|| unsafe {
        Rc::increment_strong_count(held);
        Rc::from_raw(held)
    })
}

/// The result of a hook; a request that could not be made goes no further.
fn flow(request: Option<Rc<Handle>>, hook: impl FnOnce(&Handle) -> Flow) -> Flow {
    request.map_or(Flow::Stop, |request| hook(&request))
}

// The hooks. Their names, arguments and results are those of abi.h; the statuses are those of envoy/http/filter.h.

/// Called once, when the library is loaded.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    crate::unwind::set_hook();
    ABI_VERSION.as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    host: *mut c_void,
    _name: Buffer,
    configuration: Buffer,
) -> *const Plugin {
    // SAFETY: the host keeps the text during the call.
    let bytes = unsafe { configuration.bytes() };
    callbacks::new_plugin(&HostConfiguration(host), bytes).map_or(null(), Arc::into_raw)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(plugin: *const Plugin) {
    if !plugin.is_null() {
        // SAFETY: the host gives back what it was given.
        callbacks::end(|| drop(unsafe { Arc::from_raw(plugin) }));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    _name: Buffer,
    configuration: Buffer,
) -> *const Guard {
    // SAFETY: the host keeps the text during the call.
    callbacks::new_guard(unsafe { configuration.bytes() }).map_or(null(), Arc::into_raw)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(guard: *const Guard) {
    if !guard.is_null() {
        // SAFETY: the host gives back what it was given.
        callbacks::end(|| drop(unsafe { Arc::from_raw(guard) }));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_new(
    plugin: *const Plugin,
    _stream: *mut c_void,
) -> *const Handle {
    if plugin.is_null() {
        return null();
    }
    // SAFETY: the host holds the configuration while it makes a filter of it.
    let plugin = unsafe { counted(plugin) };
    callbacks::new_request(plugin).map_or(null(), |request| Rc::into_raw(Rc::new(RefCell::new(request))))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(held: *const Handle) {
    if !held.is_null() {
        // SAFETY: the host gives back what it was given. A hook that still runs has a reference of its own.
        callbacks::end(|| drop(unsafe { Rc::from_raw(held) }));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    stream: *mut c_void,
    held: *const Handle,
    end_of_stream: bool,
) -> u32 {
    // SAFETY: the host holds the request while it calls its hooks.
    let request = unsafe { request(held) };
    match flow(request, |request| {
        callbacks::headers(&Stream { stream, hook: PhantomData }, request, end_of_stream)
    }) {
        Flow::Continue => 0,
        // StopIteration.
        Flow::Hold | Flow::Stop => 1,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    stream: *mut c_void,
    held: *const Handle,
    end_of_stream: bool,
) -> u32 {
    // SAFETY: the host holds the request while it calls its hooks.
    let request = unsafe { request(held) };
    match flow(request, |request| {
        callbacks::body(&Stream { stream, hook: PhantomData }, request, end_of_stream)
    }) {
        Flow::Continue => 0,
        // StopIterationAndBuffer.
        Flow::Hold => 1,
        // StopIterationNoBuffer.
        Flow::Stop => 3,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    stream: *mut c_void,
    held: *const Handle,
) -> u32 {
    // SAFETY: the host holds the request while it calls its hooks.
    let request = unsafe { request(held) };
    match flow(request, |request| callbacks::trailers(&Stream { stream, hook: PhantomData }, request)) {
        Flow::Continue => 0,
        // StopIteration.
        Flow::Hold | Flow::Stop => 1,
    }
}

/// Called when a stream is over, before it is logged and destroyed.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    stream: *mut c_void,
    held: *const Handle,
) {
    // SAFETY: the host holds the request while it calls its hooks.
    if let Some(request) = unsafe { request(held) } {
        callbacks::complete(&Stream { stream, hook: PhantomData }, &request);
    }
}

/// The answer to a request that a stream made.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_http_callout_done(
    stream: *mut c_void,
    held: *const Handle,
    _callout: u64,
    result: u32,
    headers: *const Header,
    header_count: usize,
    chunks: *const Buffer,
    chunk_count: usize,
) {
    // SAFETY: the host holds the request and the response while it calls this hook.
    let (request, answer) =
        unsafe { (request(held), CalloutAnswer::new(result, headers, header_count, chunks, chunk_count)) };
    if let Some(request) = request {
        callbacks::called_out(&Stream { stream, hook: PhantomData }, &request, answer.as_ref());
    }
}

/// What was scheduled is due.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    host: *mut c_void,
    plugin: *const Plugin,
    event: u64,
) {
    let event = [Event::Settle, Event::Feeds].into_iter().find(|known| known.number() == event);
    if let Some(event) = event
        && !plugin.is_null()
    {
        // SAFETY: the host holds the configuration while it calls this hook.
        let plugin = unsafe { counted(plugin) };
        callbacks::scheduled(&HostConfiguration(host), &plugin, event);
    }
}

/// The answer to a request that a configuration made.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
    host: *mut c_void,
    _plugin: *const Plugin,
    callout: u64,
    result: u32,
    headers: *const Header,
    header_count: usize,
    chunks: *const Buffer,
    chunk_count: usize,
) {
    // SAFETY: the host holds the response while it calls this hook.
    let answer = unsafe { CalloutAnswer::new(result, headers, header_count, chunks, chunk_count) };
    callbacks::configuration_called_out(&HostConfiguration(host), callout, answer.as_ref());
}

/// Hooks that have to be there and have nothing to do: the response goes as it comes, and nothing is streamed.
mod idle {
    use super::{Buffer, c_void};

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
        _stream: *mut c_void,
        _held: *const c_void,
        _end_of_stream: bool,
    ) -> u32 {
        0
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
        _stream: *mut c_void,
        _held: *const c_void,
        _end_of_stream: bool,
    ) -> u32 {
        0
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
        _stream: *mut c_void,
        _held: *const c_void,
    ) -> u32 {
        0
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(
        _stream: *mut c_void,
        _held: *const c_void,
        _event: u64,
    ) {
    }

    /// 0: the reply is sent.
    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_local_reply(
        _stream: *mut c_void,
        _held: *const c_void,
        _status: u32,
        _details: Buffer,
        _is_reset: bool,
    ) -> u32 {
        0
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
        _stream: *mut c_void,
        _held: *const c_void,
    ) {
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
        _stream: *mut c_void,
        _held: *const c_void,
    ) {
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_headers(
        _stream: *mut c_void,
        _held: *const c_void,
        _callout: u64,
        _headers: *const c_void,
        _header_count: usize,
        _end_of_stream: bool,
    ) {
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_data(
        _stream: *mut c_void,
        _held: *const c_void,
        _callout: u64,
        _data: *const c_void,
        _data_count: usize,
        _end_of_stream: bool,
    ) {
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_trailers(
        _stream: *mut c_void,
        _held: *const c_void,
        _callout: u64,
        _trailers: *const c_void,
        _trailer_count: usize,
    ) {
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_complete(
        _stream: *mut c_void,
        _held: *const c_void,
        _callout: u64,
    ) {
    }

    #[unsafe(no_mangle)]
    const extern "C" fn envoy_dynamic_module_on_http_filter_http_stream_reset(
        _stream: *mut c_void,
        _held: *const c_void,
        _callout: u64,
        _reason: u32,
    ) {
    }
}
