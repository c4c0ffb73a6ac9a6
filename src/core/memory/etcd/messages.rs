//! The messages of etcd's gRPC API that the memory of deliveries needs.
//!
//! Responsible for their numbers, which are those of `api/etcdserverpb/rpc.proto` and `api/mvccpb/kv.proto` in
//! etcd-io/etcd. Fields that nothing here sets or reads are left out; Protobuf skips what it does not know.

use prost::{Enumeration, Message, Oneof};

/// `LeaseGrantRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct LeaseGrant {
    /// How long the lease lasts, in seconds.
    #[prost(int64, tag = "1")]
    pub(super) ttl: i64,
    /// The lease.
    #[prost(int64, tag = "2")]
    pub(super) id: i64,
}

/// `TxnRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Transaction {
    /// All of it has to hold.
    #[prost(message, repeated, tag = "1")]
    pub(super) compare: Vec<Compare>,
    /// What is done if it holds.
    #[prost(message, repeated, tag = "2")]
    pub(super) success: Vec<Operation>,
    /// What is done otherwise.
    #[prost(message, repeated, tag = "3")]
    pub(super) failure: Vec<Operation>,
}

/// `Compare`, always for equality.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Compare {
    /// What of the key is compared.
    #[prost(enumeration = "Target", tag = "2")]
    pub(super) target: i32,
    /// The key.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) key: Vec<u8>,
    /// What it is compared with.
    #[prost(oneof = "Revision", tags = "5, 6")]
    pub(super) revision: Option<Revision>,
}

/// `Compare.CompareTarget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum Target {
    /// The default, which nothing here asks for.
    Version = 0,
    /// The revision in which the key was created; 0 where there is none.
    Created = 1,
    /// The revision in which it was last written.
    Modified = 2,
}

/// `Compare.target_union`.
#[derive(Clone, Copy, PartialEq, Eq, Oneof)]
pub(super) enum Revision {
    /// In which the key was created.
    #[prost(int64, tag = "5")]
    Created(i64),
    /// In which it was last written.
    #[prost(int64, tag = "6")]
    Modified(i64),
}

/// `RequestOp`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Operation {
    /// What is done.
    #[prost(oneof = "Act", tags = "1, 2, 3, 4")]
    pub(super) act: Option<Act>,
}

/// `RequestOp.request`.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Act {
    /// `RangeRequest`.
    #[prost(message, tag = "1")]
    Get(Key),
    /// `PutRequest`.
    #[prost(message, tag = "2")]
    Put(Put),
    /// `DeleteRangeRequest`.
    #[prost(message, tag = "3")]
    Delete(Key),
    /// A transaction within the transaction.
    #[prost(message, tag = "4")]
    Transaction(Transaction),
}

/// `RangeRequest` and `DeleteRangeRequest` of one key.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Key {
    /// The key.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
}

/// `PutRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Put {
    /// The key.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    /// Its value.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
    /// The lease that deletes it.
    #[prost(int64, tag = "3")]
    pub(super) lease: i64,
}

/// `ResponseHeader`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Header {
    /// The revision of the store; that of a write is the key's.
    #[prost(int64, tag = "3")]
    pub(super) revision: i64,
}

/// `TxnResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TransactionDone {
    /// Every answer of an etcd has one.
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<Header>,
    /// Whether the comparison held.
    #[prost(bool, tag = "2")]
    pub(super) succeeded: bool,
    /// What the operations came to.
    #[prost(message, repeated, tag = "3")]
    pub(super) results: Vec<OperationDone>,
}

/// `ResponseOp`, as far as it is a range.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperationDone {
    /// What was found.
    #[prost(message, optional, tag = "1")]
    pub(super) range: Option<Range>,
}

/// `RangeResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Range {
    /// The keys.
    #[prost(message, repeated, tag = "2")]
    pub(super) values: Vec<KeyValue>,
}

/// `mvccpb.KeyValue`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct KeyValue {
    /// The revision in which it was last written.
    #[prost(int64, tag = "3")]
    pub(super) modified: i64,
    /// Its value.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) value: Vec<u8>,
}
