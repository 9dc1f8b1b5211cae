//! Who reads an answer and how: language, JSON or page, session, and where they are. Made once for each request.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;

use super::error::PortalError;
use super::fields::Fields;
use super::flash::Flash;
use super::page::Page;
use super::texts::Texts;
use crate::domain::auth::attempts::{Origin, Surface};
use crate::domain::auth::web_session::WebUser;
use crate::http::state::ApiState;

/// The field of the query that chooses a language.
pub const LANGUAGE_FIELD: &str = "lang";

/// Who reads the answer.
#[derive(Clone, Debug)]
pub struct Reader {
    parts: Arc<ReaderParts>,
    is_bare: bool,
}

/// What a reader is made from.
#[derive(Clone, Debug)]
pub struct ReaderParts {
    /// Their language.
    pub language: String,
    /// Whether they want pages; else JSON.
    pub wants_html: bool,
    /// The path they asked for.
    pub path: String,
    /// The query they sent.
    pub query: Fields,
    /// Where they are.
    pub address: IpAddr,
    /// Who they are.
    pub user: Option<WebUser>,
    /// The token of their forms; empty without a session.
    pub csrf: String,
    /// What is to be said on the next page.
    pub flash: Option<Flash>,
    /// Whether a browser says that another site sent the request.
    pub is_cross_site: bool,
}

/// A language to switch to.
#[derive(Clone, Debug, Serialize)]
pub struct LanguageLink {
    code: String,
    name: String,
    href: String,
    is_current: bool,
}

impl From<ReaderParts> for Reader {
    fn from(parts: ReaderParts) -> Self {
        Self { parts: Arc::new(parts), is_bare: false }
    }
}

impl Reader {
    /// Their language.
    pub fn language(&self) -> &str {
        &self.parts.language
    }

    /// Whether they want pages; else JSON.
    pub fn wants_html(&self) -> bool {
        self.parts.wants_html
    }

    /// The path they asked for.
    pub fn path(&self) -> &str {
        &self.parts.path
    }

    /// Where they are, for the limits on attempts.
    pub fn origin(&self) -> Origin {
        Origin { surface: Surface::Portal, address: self.parts.address }
    }

    /// Who they are, if signed in.
    pub fn user(&self) -> Option<WebUser> {
        self.parts.user
    }

    /// Whether they are signed in.
    pub fn is_signed_in(&self) -> bool {
        self.parts.user.is_some()
    }

    /// The token of their forms; empty without a session.
    pub fn csrf(&self) -> &str {
        &self.parts.csrf
    }

    /// What is to be said on the page.
    pub fn flash(&self) -> Option<&Flash> {
        self.parts.flash.as_ref()
    }

    /// Whether a browser says that another site sent the request.
    pub fn is_cross_site(&self) -> bool {
        self.parts.is_cross_site
    }

    /// Whether pages go without head and foot, for a webview.
    pub fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// The same reader in a webview, whose pages go without head and foot.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self { parts: Arc::clone(&self.parts), is_bare: true }
    }

    /// Links to the page in each language.
    pub fn language_links(&self, texts: &Texts) -> Vec<LanguageLink> {
        let href = |language: &str| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            let mut fields: Vec<_> = self.parts.query.iter().filter(|(name, _)| *name != LANGUAGE_FIELD).collect();
            fields.sort_unstable();
            query.extend_pairs(fields).append_pair(LANGUAGE_FIELD, language);
            format!("?{}", query.finish())
        };
        let link = |(code, name): (&str, &str)| LanguageLink {
            code: code.to_owned(),
            name: name.to_owned(),
            href: href(code),
            is_current: code == self.parts.language,
        };
        texts.languages().map(link).collect()
    }

    /// A page.
    ///
    /// # Errors
    /// A template of the operator that does not fit.
    pub fn page<P: Page>(&self, state: &ApiState, page: &P) -> Result<Response, PortalError> {
        let portal = &state.portal;
        let text = portal.pages.render(&portal.texts, self, page).map_err(|error| {
            let cause = format!("the page {} cannot be made: {error:#}", P::TEMPLATE);
            PortalError::internal(cause)
        })?;
        Ok(Html(text).into_response())
    }
}

impl FromRequestParts<ApiState> for Reader {
    type Rejection = PortalError;
    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, PortalError> {
        let reader = parts.extensions.get::<Self>().cloned();
        reader.ok_or_else(|| PortalError::internal("a route of the portal stands outside its passage".into()))
    }
}

/// Whether pages are wanted rather than JSON: `text/html` is named, and nothing JSON is liked better.
pub fn wants_html(headers: &HeaderMap) -> bool {
    let mut best: [Option<f32>; 2] = [None, None];
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for entry in accepted.flat_map(|text| text.split(',')).take(64) {
        let mut parts = entry.split(';').map(str::trim);
        let place = match parts.next().map(str::to_ascii_lowercase).as_deref() {
            Some("text/html") => 0,
            Some("application/json") => 1,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse::<f32>().ok()).unwrap_or(1.0);
        if quality > best[place].unwrap_or(0.0) {
            best[place] = Some(quality);
        }
    }
    match best {
        [Some(html), Some(json)] => html >= json,
        [html, None] => html.is_some(),
        [None, _] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_for_those_who_name_them() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_html(&headers)
        };
        assert!(!wants_html(&HeaderMap::new()));
        for json in ["*/*", "application/json", "application/json, text/html;q=0.9", "text/html;q=0", "image/png"] {
            assert!(!wants(json), "{json}");
        }
        for html in ["text/html", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json;q=0.1, text/html"] {
            assert!(wants(html), "{html}");
        }
    }
}
