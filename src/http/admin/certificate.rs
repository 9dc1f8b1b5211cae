//! Client certificates: hand one out, list those of a network, revoke one; and the sources they belong to.

use axum::Router;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, PAGE_MAX, cut, find_network, not_found, route};
use crate::config::check::is_short_name;
use crate::domain::certificate::record::CertificateRecord;
use crate::domain::certificate::revoke::{ListCertificates as List, RevokeCertificate as Revoke};
use crate::domain::certificate::source::{AddSource as Add, PageSources};
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::ClientId;
use crate::time::Timestamp;

/// The account website's number for a source that exists.
const SOURCE_EXISTS: u32 = 99;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new()
        .merge(route::<IssueCertificate>())
        .merge(route::<ListCertificates>())
        .merge(route::<RevokeCertificate>())
        .merge(route::<ListSources>())
        .merge(route::<AddSource>())
}

/// Hands out the good certificate of a network's user, as its owner gets it; made if there is none.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct IssueCertificate {
    /// Id or name of the network
    pub network: String,
}

/// A certificate with its key.
#[derive(Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// The client it stands for.
    pub client_id: ClientId,
    /// The source it belongs to.
    pub source_id: String,
    /// When it ends.
    pub expire_time: Timestamp,
    /// PKCS#12 in base64, under `portal.p12_password`.
    pub pkcs12: String,
}

impl Command for IssueCertificate {
    const PATH: &'static str = "/certificates/issue";
    type Answer = IssuedCertificate;

    async fn run(self, state: &ApiState) -> Result<IssuedCertificate, ApiError> {
        let (_, network) = find_network(state, &self.network)?;
        let bundle = state.certificates.hand_out(network.admin_user_id).await?.ok_or_else(|| {
            let text = format!(
                "network {} has all the clients it may have (limits.clients_per_network); remove one first",
                network.name
            );
            ApiError::new(StatusCode::CONFLICT, text)
        })?;
        Ok(IssuedCertificate {
            client_id: bundle.client_id,
            source_id: bundle.source_id.to_string(),
            expire_time: bundle.expire_time,
            pkcs12: STANDARD.encode(&bundle.pkcs12),
        })
    }
}

/// Lists the certificates of a network, one for each source.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListCertificates {
    /// Id or name of the network
    pub network: String,
}

/// The certificates of a network.
#[derive(Debug, Serialize, Deserialize)]
pub struct Certificates {
    /// The certificates.
    pub certificates: Vec<CertificateEntry>,
}

/// A certificate.
#[derive(Debug, Serialize, Deserialize)]
pub struct CertificateEntry {
    /// The source it belongs to.
    pub source_id: String,
    /// Whether that is the current one.
    pub is_current: bool,
    /// The client it stands for.
    pub client_id: ClientId,
    /// When it was signed.
    pub issue_time: Timestamp,
    /// When it ends.
    pub expire_time: Timestamp,
    /// When it was revoked; absent when it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_time: Option<Timestamp>,
}

impl Command for ListCertificates {
    const PATH: &'static str = "/certificates/list";
    type Answer = Certificates;

    async fn run(self, state: &ApiState) -> Result<Certificates, ApiError> {
        let (_, network) = find_network(state, &self.network)?;
        let current = state.certificates.source_id();
        let entry = |(source_id, record): (String, CertificateRecord)| CertificateEntry {
            is_current: *source_id == *current,
            source_id,
            client_id: record.client_id,
            issue_time: record.issue_time,
            expire_time: record.expire_time,
            revoke_time: record.revoke_time,
        };
        let certificates = state.service.read(&List { user_id: network.admin_user_id })?;
        Ok(Certificates { certificates: certificates.into_iter().map(entry).collect() })
    }
}

/// Ends the certificate of a network's user; its live transports are cut. The next one is for the same client.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RevokeCertificate {
    /// Id or name of the network
    pub network: String,
    /// The source it belongs to; without it the current one
    #[arg(long, value_name = "ID")]
    pub source: Option<String>,
}

/// What was revoked.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokedCertificate {
    /// The source it belonged to.
    pub source_id: String,
}

impl Command for RevokeCertificate {
    const PATH: &'static str = "/certificates/revoke";
    type Answer = RevokedCertificate;

    async fn run(self, state: &ApiState) -> Result<RevokedCertificate, ApiError> {
        let (_, network) = find_network(state, &self.network)?;
        let source_id = self.source.unwrap_or_else(|| state.certificates.source_id().to_string());
        let revoke = Revoke { user_id: network.admin_user_id, source_id: source_id.clone() };
        match state.service.run(&revoke).await? {
            true => Ok(RevokedCertificate { source_id }),
            false => Err(not_found(format!(
                "network {} has no certificate of source {source_id:?} to revoke; `warren admin certificates list {}` \
                 shows all",
                network.name, network.name
            ))),
        }
    }
}

/// Lists the sources that ever were.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListSources {
    /// Show those behind this source
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
    /// Most sources to list
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=PAGE_MAX as i64))]
    pub limit: u32,
}

/// Sources of certificates.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sources {
    /// The sources.
    pub sources: Vec<SourceEntry>,
    /// The last one shown, when there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A source.
#[derive(Debug, Serialize, Deserialize)]
pub struct SourceEntry {
    /// Its name.
    pub source_id: String,
    /// Whether its certificates are good.
    pub is_current: bool,
    /// When it was first named.
    pub create_time: Timestamp,
}

impl Command for ListSources {
    const PATH: &'static str = "/certificates/sources";
    type Answer = Sources;

    async fn run(self, state: &ApiState) -> Result<Sources, ApiError> {
        let limit = self.limit.min(PAGE_MAX);
        let current = state.certificates.source_id();
        let page = state.service.read(&PageSources { after: self.after, count: limit as usize + 1 })?;
        let mut sources: Vec<_> = page
            .into_iter()
            .map(|(source_id, record)| SourceEntry {
                is_current: *source_id == *current,
                source_id,
                create_time: record.create_time,
            })
            .collect();
        let next = cut(&mut sources, limit, |source| source.source_id.clone());
        Ok(Sources { sources, next })
    }
}

/// Reserves the name of a source that never was, to become portal.current_source_id: going back to a name that was in
/// use makes its old certificates good again.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct AddSource {
    /// The new name
    pub source_id: String,
}

/// What was added.
#[derive(Debug, Serialize, Deserialize)]
pub struct AddedSource {
    /// Its name.
    pub source_id: String,
}

impl Command for AddSource {
    const PATH: &'static str = "/certificates/add-source";
    type Answer = AddedSource;

    async fn run(self, state: &ApiState) -> Result<AddedSource, ApiError> {
        let source_id = self.source_id;
        if !is_short_name(&source_id) {
            return Err(ApiError::bad_request("a source is named by 1 to 64 printable characters without spaces"));
        }
        match state.service.run(&Add { source_id: source_id.clone() }).await? {
            true => Ok(AddedSource { source_id }),
            false => Err(ApiError::bad_request(format!(
                "source {source_id:?} exists already (code {SOURCE_EXISTS}); choose a name that was never in use"
            ))),
        }
    }
}
