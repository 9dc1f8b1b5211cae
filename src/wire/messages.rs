//! The protobuf messages of `proto/`, generated at build time.

#![allow(missing_docs, reason = "generated code; the fields are described in proto/")]
#![allow(clippy::doc_markdown, clippy::enum_variant_names, reason = "generated code")]

include!(concat!(env!("OUT_DIR"), "/bringyour.rs"));
