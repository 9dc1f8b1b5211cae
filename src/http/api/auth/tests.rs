use serde_json::json;

use crate::http::testing::TestApi;
