//! The host's functions, as declared by the proxy-wasm ABI 0.2.1.
//!
//! Responsible for all unsafe code of the crate: it turns pointers into owned bytes and statuses into values, so that
//! no status can panic (the SDK panics on any it does not expect, and unwraps UTF-8 that an attacker controls).
#![expect(unsafe_code, reason = "the one module that calls the host's C functions")]

use proxy_wasm::types::Status;
use std::ptr::null_mut;
use std::time::Duration;

/// The host refused a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault;

/// A header map.
#[derive(Clone, Copy)]
pub(super) enum Map {
    RequestHeaders,
    RequestTrailers,
    CallResponseHeaders,
}

impl Map {
    const fn number(self) -> u32 {
        match self {
            Self::RequestHeaders => 0,
            Self::RequestTrailers => 1,
            Self::CallResponseHeaders => 6,
        }
    }
}

/// A buffer.
#[derive(Clone, Copy)]
pub(super) enum Buffer {
    RequestBody,
    CallResponseBody,
    /// The message of the gRPC answer that is being told.
    GrpcAnswer,
    PluginConfiguration,
}

impl Buffer {
    const fn number(self) -> u32 {
        match self {
            Self::RequestBody => 0,
            Self::CallResponseBody => 4,
            Self::GrpcAnswer => 5,
            Self::PluginConfiguration => 7,
        }
    }
}

/// A kind of metric.
#[derive(Clone, Copy)]
pub(super) enum Metric {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    const fn number(self) -> u32 {
        match self {
            Self::Counter => 0,
            Self::Gauge => 1,
            Self::Histogram => 2,
        }
    }
}

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;
/// The level at and below which debug lines are wanted: trace is 0, debug is 1.
const DEBUG: u32 = 1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_property(path: *const u8, size: usize, data: *mut *mut u8, data_size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
}

/// Takes over what the host wrote into memory that it asked us for.
fn take(status: u32, data: *mut u8, size: usize) -> Result<Option<Vec<u8>>, Fault> {
    match status {
        OK if data.is_null() => Ok(Some(Vec::new())),
        // SAFETY: the host allocates through the SDK's `proxy_on_memory_allocate`, which leaks a boxed slice of just
        // this size, and hands it over for good.
        OK => Ok(Some(unsafe { Vec::from_raw_parts(data, size, size) })),
        NOT_FOUND => Ok(None),
        _ => Err(Fault),
    }
}

const fn done(status: u32) -> Result<(), Fault> {
    if status == OK { Ok(()) } else { Err(Fault) }
}

/// A header map in the ABI's form; nothing where there is none in this phase.
pub(super) fn header_map(map: Map) -> Result<Option<Vec<u8>>, Fault> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: both pointers are valid for writes during the call.
    let status = unsafe { proxy_get_header_map_pairs(map.number(), &raw mut data, &raw mut size) };
    take(status, data, size)
}

/// Removes every header of that name.
pub(super) fn remove_header(map: Map, name: &[u8]) -> Result<(), Fault> {
    // SAFETY: the host reads `name` during the call only.
    done(unsafe { proxy_remove_header_map_value(map.number(), name.as_ptr(), name.len()) })
}

/// Sets a request header, in place of all others of that name.
pub(super) fn set_request_header(name: &[u8], value: &[u8]) -> Result<(), Fault> {
    let map = Map::RequestHeaders.number();
    // SAFETY: the host reads both slices during the call only.
    done(unsafe {
        proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// A property, the parts of its path separated by NUL; nothing where the host knows none of that path.
pub(super) fn property(path: &str) -> Result<Option<Vec<u8>>, Fault> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: `path` is read during the call only; both other pointers are valid for writes.
    let status = unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut size) };
    take(status, data, size)
}

/// Sets a property, which Envoy keeps as filter state `wasm.NAME`.
pub(super) fn set_property(name: &str, value: &str) -> Result<(), Fault> {
    // SAFETY: the host reads both slices during the call only.
    done(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// At most `most` bytes of a buffer; nothing where there is no such buffer.
pub(super) fn buffer(buffer: Buffer, start: usize, most: usize) -> Result<Option<Vec<u8>>, Fault> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: both pointers are valid for writes during the call.
    let status =
        unsafe { proxy_get_buffer_bytes(buffer.number(), start, most, &raw mut data, &raw mut size) };
    take(status, data, size)
}

/// Replies to the request of the effective context. `details` becomes `%RESPONSE_CODE_DETAILS%`: the SDK has no
/// argument for it.
pub(super) fn reply(status: u16, details: &str, headers: &[u8], body: &str) -> Result<(), Fault> {
    // SAFETY: the host reads all slices during the call only. -1: no gRPC status.
    done(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

/// The host's clock, in nanoseconds since the Unix epoch.
pub(super) fn nanoseconds() -> Result<u64, Fault> {
    let mut time = 0;
    // SAFETY: the pointer is valid for writes during the call.
    done(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) }).map(|()| time)
}

/// Whether a value was put in the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swap {
    /// It was.
    Done,
    /// What stands there is not what it was compared with.
    Mismatch,
}

/// A value of the shared data, and what it is compared with when it is set: where there is none, it is empty, and set only
/// if there still is none.
pub(super) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Fault> {
    let (mut data, mut size, mut cas) = (null_mut(), 0, 0);
    // SAFETY: `key` is read during the call only; the other pointers are valid for writes.
    let status =
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), &raw mut data, &raw mut size, &raw mut cas) };
    Ok(take(status, data, size)?.map_or((Vec::new(), u32::MAX), |value| (value, cas)))
}

/// Sets a value of the shared data if it is still the one that `compare` came with.
pub(super) fn set_shared_data(key: &str, value: &[u8], compare: u32) -> Result<Swap, Fault> {
    // SAFETY: the host reads both slices during the call only.
    let status =
        unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), compare) };
    match status {
        OK => Ok(Swap::Done),
        CAS_MISMATCH => Ok(Swap::Mismatch),
        _ => Err(Fault),
    }
}

/// Sets a value of the shared data, whatever stands there.
pub(super) fn replace_shared_data(key: &str, value: &[u8]) -> Result<(), Fault> {
    match set_shared_data(key, value, 0)? {
        Swap::Done => Ok(()),
        Swap::Mismatch => Err(Fault),
    }
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum NotSent {
    /// The host has no cluster of that name.
    NoCluster,
    /// It has, and sends nothing there.
    Refused,
}

/// Sends a request without a body to a cluster; its answer comes to `on_http_call_response` with this number. This is the
/// SDK's call: it panics when an answer comes that it knows nothing of. The statuses that it expects are all that Envoy has
/// (`source/extensions/common/wasm/context.cc`, `Context::httpCall`).
pub(super) fn call(cluster: &str, headers: &[(&str, &str)], timeout: Duration) -> Result<u32, NotSent> {
    let sent =
        proxy_wasm::hostcalls::dispatch_http_call(cluster, headers.to_vec(), None, Vec::new(), timeout);
    sent.map_err(|status| match status {
        Status::BadArgument => NotSent::NoCluster,
        _ => NotSent::Refused,
    })
}

/// Whether debug lines are wanted just now: Envoy's `wasm` logger, whose level changes live.
pub(super) fn is_debug() -> bool {
    let mut level = u32::MAX;
    // SAFETY: the pointer is valid for writes during the call.
    let status = unsafe { proxy_get_log_level(&raw mut level) };
    status == OK && level <= DEBUG
}

/// The id of a metric; the same for the same name.
pub(super) fn define_metric(kind: Metric, name: &str) -> Result<u32, Fault> {
    let mut id = 0;
    // SAFETY: `name` is read during the call only; the pointer is valid for writes.
    let status = unsafe { proxy_define_metric(kind.number(), name.as_ptr(), name.len(), &raw mut id) };
    done(status).map(|()| id)
}

/// Adds to a counter.
pub(super) fn increment(id: u32, number: u64) -> Result<(), Fault> {
    let number = i64::try_from(number).map_err(|_| Fault)?;
    // SAFETY: no pointer is passed.
    done(unsafe { proxy_increment_metric(id, number) })
}

/// Adds a value to a histogram, or makes it the value of a gauge.
pub(super) fn record(id: u32, value: u64) -> Result<(), Fault> {
    // SAFETY: no pointer is passed.
    done(unsafe { proxy_record_metric(id, value) })
}

/// Makes the calls that follow, in this callback, be about the request of that context.
pub(super) fn set_effective_context(context: u32) -> Result<(), Fault> {
    // SAFETY: no pointer is passed.
    done(unsafe { proxy_set_effective_context(context) })
}

/// Lets the request of the effective context go on, once the callback has returned.
pub(super) fn resume_request() -> Result<(), Fault> {
    const REQUEST: u32 = 0;
    // SAFETY: no pointer is passed.
    done(unsafe { proxy_continue_stream(REQUEST) })
}

/// Asks for a tick every so many milliseconds; none at 0.
pub(super) fn set_tick_period(milliseconds: u32) -> Result<(), Fault> {
    // SAFETY: no pointer is passed.
    done(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}
