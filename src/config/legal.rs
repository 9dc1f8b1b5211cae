//! `[legal]`: the texts at `/privacy.txt`, `/terms.txt` and `/vdp.txt`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the operator's legal texts are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Legal {
    /// Folder with `privacy.txt`, `terms.txt` and `vdp.txt`; read at each request, none has to exist.
    pub dir: PathBuf,
    /// Where the texts are that the folder does not have, e.g. `https://example.org`; empty for nowhere.
    pub base_url: String,
    /// Whom to ask where there is no text, e.g. a mail address; empty for nobody.
    pub contact: String,
}
