//! `warren admin certificates`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};

use super::desk::Desk;
use super::show::{details, or_dash, page, table, yes_no};
use crate::http::admin::certificate::{
    AddSource, Certificates as Listed, IssueCertificate, IssuedCertificate, ListCertificates, ListSources,
    RevokeCertificate, Sources,
};

/// The commands on client certificates.
#[derive(Subcommand)]
pub enum Certificates {
    /// Hand out the good certificate of a network's user, as PKCS#12
    Issue(Issue),
    /// List the certificates of a network, one for each source
    List(ListCertificates),
    /// End a certificate and cut its transports
    Revoke(RevokeCertificate),
    /// List the sources that ever were
    Sources(ListSources),
    /// Reserve a name for the next source
    AddSource(AddSource),
}

/// What to hand out, and where to put it.
#[derive(Args)]
pub struct Issue {
    #[command(flatten)]
    certificate: IssueCertificate,
    /// File for the bundle, which only its owner may read; without it the bundle is shown in base64
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Certificates {
    /// Runs the command.
    pub async fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self {
            Self::Issue(Issue { certificate, out: None }) => desk.run(certificate, issued).await,
            Self::Issue(Issue { certificate, out: Some(path) }) => {
                let answer = desk.ask(&certificate).await?;
                save(&path, &STANDARD.decode(&answer.pkcs12)?)
                    .with_context(|| format!("--out {} cannot be written", path.display()))
            }
            Self::List(command) => desk.run(command, list).await,
            Self::Revoke(command) => {
                desk.run(command, |revoked| format!("certificate of source {} revoked", revoked.source_id)).await
            }
            Self::Sources(command) => desk.run(command, sources).await,
            Self::AddSource(command) => {
                desk.run(command, |added| {
                    format!("set portal.current_source_id to {} and send SIGHUP to move to it", added.source_id)
                })
                .await
            }
        }
    }
}

/// Writes a file that nobody else can read; one that is there is left alone.
fn save(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

fn issued(answer: &IssuedCertificate) -> String {
    details([
        ("client", answer.client_id.to_string()),
        ("source", answer.source_id.clone()),
        ("ends", answer.expire_time.to_string()),
        ("pkcs12", answer.pkcs12.clone()),
    ])
}

fn list(answer: &Listed) -> String {
    let rows = answer.certificates.iter().map(|certificate| {
        [
            certificate.source_id.clone(),
            yes_no(certificate.is_current),
            certificate.client_id.to_string(),
            certificate.issue_time.to_string(),
            certificate.expire_time.to_string(),
            or_dash(certificate.revoke_time),
        ]
    });
    table(["source", "current", "client", "signed", "ends", "revoked"], rows)
}

fn sources(answer: &Sources) -> String {
    let rows = answer
        .sources
        .iter()
        .map(|source| [source.source_id.clone(), yes_no(source.is_current), source.create_time.to_string()]);
    page(table(["source", "current", "first named"], rows), answer.next.as_ref())
}
