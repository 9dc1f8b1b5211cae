//! Settings that can be used, but are likely not meant.

use super::Config;
use super::check::Complaint;
use super::device::Device;

/// What whoever starts a server with these settings should hear.
pub fn advice(config: &Config) -> Vec<Complaint> {
    let mut advice = Vec::new();
    let is_public = !config.http.listen.ip().is_loopback();
    if is_public && config.device.add_url_base == Device::default().add_url_base {
        advice.push(Complaint {
            key: "device.add_url_base",
            text:
                "is the default: a plain camera that reads a device code opens a website that is not yours; name yours"
                    .into(),
        });
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_server_is_told_where_its_codes_lead() {
        let mut config = Config::default();
        assert_eq!(advice(&config), [], "on loopback it is a lab");
        config.http.listen = "0.0.0.0:80".parse().unwrap();
        assert_eq!(advice(&config).iter().map(|advice| advice.key).collect::<Vec<_>>(), ["device.add_url_base"]);
        config.device.add_url_base = "https://app.example.org/".into();
        assert_eq!(advice(&config), []);
    }
}
