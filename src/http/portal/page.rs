//! Pages from templates: those in the binary, replaced one by one by the operator's folder.
//!
//! Templates are strict: a name that is not there is an error, so a page is whole or not shown at all. Everything that
//! is put into one is escaped.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use super::SetupError;
use super::reader::Reader;
use super::texts::{self, Texts};

/// Largest file of the operator's folder.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The name of the stylesheet in the operator's folder, and the path it is served under.
const STYLESHEET: &str = "portal.css";

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        /// Every template in the binary.
        pub const TEMPLATES: &[(&str, &str)] = &[$(($name, include_str!(concat!("pages/", $name)))),+];
    };
}

templates!(
    "base.html",
    "forms.html",
    "notice.html",
    "home.html",
    "text.html",
    "signin.html",
    "signup.html",
    "signup-success.html",
    "email-confirmed.html",
    "resend-confirm-code.html",
    "forgot-password.html",
    "reset-password.html",
    "account.html",
    "change-email.html",
    "change-password.html",
    "opt-out.html",
    "opted-out.html",
    "clients.html",
);

/// What a page shows: a type for each template, so that none is forgotten.
pub trait Page: Serialize {
    /// The template.
    const TEMPLATE: &'static str;
}

/// The templates and the stylesheet.
#[derive(Debug)]
pub struct Pages {
    environment: Environment<'static>,
    stylesheet: Bytes,
    stylesheet_path: String,
    product: String,
}

impl Pages {
    /// The templates in the binary and those of `folder`, unless that is empty. Pages call the place `product`.
    ///
    /// # Errors
    /// A template that cannot be read or understood.
    pub fn open(folder: &Path, product: &str) -> Result<Self, SetupError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("fill", fill);
        for (name, built_in) in TEMPLATES {
            let added = match read(folder, name)? {
                Some(own) => environment.add_template_owned(*name, own),
                None => environment.add_template(name, built_in),
            };
            added.map_err(|error| SetupError::Template(error.to_string()))?;
        }
        let stylesheet = match read(folder, STYLESHEET)? {
            Some(own) => Bytes::from(own),
            None => Bytes::from_static(include_bytes!("pages/portal.css")),
        };
        let hash = hex::encode(&digest(&SHA256, &stylesheet).as_ref()[..6]);
        let stylesheet_path = format!("/{STYLESHEET}?{hash}");
        Ok(Self { environment, stylesheet, stylesheet_path, product: product.to_owned() })
    }

    /// The text of a page for a reader.
    pub fn render<P: Page>(&self, texts: &Texts, reader: &Reader, page: &P) -> Result<String, minijinja::Error> {
        let frame = context! {
            t => Value::from(Serde(texts.table(reader.language()))),
            language => reader.language(),
            languages => Value::from(Serde(reader.language_links(texts))),
            product => &*self.product,
            stylesheet => &*self.stylesheet_path,
            csrf => reader.csrf(),
            is_signed_in => reader.is_signed_in(),
            is_bare => reader.is_bare(),
            flash => Value::from(Serde(reader.flash())),
        };
        let page = Value::from(Serde(page));
        self.environment.get_template(P::TEMPLATE)?.render(context! { ..page, ..frame })
    }

    /// The stylesheet, as it is served.
    pub fn stylesheet(&self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            // Its path changes with it.
            (header::CACHE_CONTROL, "public, max-age=86400"),
        ];
        (headers, self.stylesheet.clone()).into_response()
    }
}

/// `{{ text | fill(name=value) }}`: a text with its places filled in.
fn fill(text: &str, values: Kwargs) -> Result<String, minijinja::Error> {
    let mut pairs = Vec::new();
    for name in values.args() {
        let value: Value = values.get(name)?;
        pairs.push((name.to_owned(), value.to_string()));
    }
    Ok(texts::fill(text, &pairs))
}

/// A file of the operator's folder; none when there is no such folder or file.
fn read(folder: &Path, name: &str) -> Result<Option<String>, SetupError> {
    if folder.as_os_str().is_empty() {
        return Ok(None);
    }
    let path = folder.join(name);
    let failed = |cause: String| SetupError::Template(format!("{}: {cause}", path.display()));
    match std::fs::metadata(&path) {
        Ok(about) if about.len() > MAX_FILE_BYTES => Err(failed("it is larger than 1 MiB".into())),
        Ok(_) => std::fs::read_to_string(&path).map(Some).map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}
