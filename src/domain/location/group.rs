//! Named groups of places: continents, and where laws favour privacy.

use super::place::{Place, derive_id};
use crate::ids::LocationId;

/// A group of countries, and of regions where a whole country would be too much.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, as apps show it.
    pub name: &'static str,
    /// Codes of its countries, separated by spaces.
    countries: &'static str,
    /// Names of regions, each in the country of its code.
    regions: &'static [(&'static str, &'static str)],
    /// Whether lists of countries show it too.
    pub is_promoted: bool,
}

/// The group whose places are marked `strong_privacy`.
pub const STRONG_PRIVACY: &str = "Strong Privacy Laws and Internet Freedom";

impl Group {
    /// Its id, the same on every server.
    pub fn id(&self) -> LocationId {
        derive_id("group", &[self.name])
    }

    /// The ids of its members; a member stands for everything inside it.
    pub fn member_ids(&self) -> Vec<LocationId> {
        let countries = self.countries.split(' ').map(|code| derive_id("country", &[code]));
        countries.chain(self.regions.iter().map(|(code, region)| derive_id("region", &[code, region]))).collect()
    }

    /// Whether a place lies inside.
    pub fn contains(&self, place: &Place) -> bool {
        let code = place.country_code.as_str();
        self.countries.split(' ').any(|member| member == code)
            || self.regions.iter().any(|(country, region)| *country == code && *region == place.region)
    }
}

/// The group with this id.
pub fn by_id(id: LocationId) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.id() == id)
}

/// Whether a place lies where laws favour privacy.
pub fn has_strong_privacy(place: &Place) -> bool {
    GROUPS.iter().any(|group| group.name == STRONG_PRIVACY && group.contains(place))
}

const PRIVATE_STATES: &[(&str, &str)] = &[
    ("us", "California"),
    ("us", "Colorado"),
    ("us", "Connecticut"),
    ("us", "Delaware"),
    ("us", "Maryland"),
    ("us", "Minnesota"),
    ("us", "Oregon"),
    ("us", "Virginia"),
    ("us", "Texas"),
    ("us", "New Hampshire"),
    ("us", "Montana"),
];

const fn group(name: &'static str, countries: &'static str) -> Group {
    Group { name, countries, regions: &[], is_promoted: false }
}

/// Every group.
pub const GROUPS: &[Group] = &[
    group("European Union (EU)", "at be bg hr cy cz dk ee fi fr de gr hu ie it lv lt lu mt nl pl pt ro sk si es se"),
    group("Nordic", "dk fi is no se"),
    Group {
        name: STRONG_PRIVACY,
        countries: "at be cz dk ee fi fr de ie is it lt lu nl no pt es se ch jp ca kr nz ar br sg",
        regions: PRIVATE_STATES,
        is_promoted: false,
    },
    group("Northern Africa", "dz eg ly ma sd tn eh"),
    group("Eastern Africa", "io bi km dj er et tf ke mg mw mu yt mz re rw sc so ss ug tz zw"),
    group("Central Africa", "ao cm cf td cg cd gq ga st"),
    group("Southern Africa", "bw sz ls na za"),
    group("Western Africa", "bj bf cv ci gm gh gn gw lr ml mr ne ng sh sn sl tg"),
    group("Central Asia", "kz kg tj tm uz"),
    group("Eastern Asia", "cn hk mo kp jp mn kr"),
    group("Southeastern Asia", "bn kh id la my mm ph sg th tl vn"),
    group("Southern Asia", "af bd bt in ir mv np pk lk"),
    group("Western Asia", "am az bh cy ge iq il jo kw lb om qa sa ps sy tr ae ye"),
    group("Eastern Europe", "by bg cz hu pl md ro ru sk ua"),
    group("Northern Europe", "ax dk ee fo fi is ie im lv lt no sj se gb"),
    group("Southern Europe", "al ad ba hr gi gr va it mt me mk pt sm rs si es"),
    group("Western Europe", "at be fr de li lu mc nl ch"),
    group("Caribbean", "ai ag aw bs bb bq vg ky cu cw dm do gd gp ht jm mq ms pr bl kn lc mf vc sx tt tc vi"),
    group("Central America", "bz cr sv gt hn mx ni pa"),
    group("South America", "ar bo bv br cl co ec fk gf gy py pe gs sr uy ve"),
    group("Northern America", "bm ca gl pm us"),
    group("Antarctica", "aq"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::location::country::CountryCode;

    fn place(country: &str, region: &str) -> Place {
        Place::new(country, "", region, "").unwrap()
    }

    #[test]
    fn groups_hold_countries_and_single_regions() {
        assert!(has_strong_privacy(&place("de", "Berlin")));
        assert!(has_strong_privacy(&place("us", "Texas")));
        assert!(!has_strong_privacy(&place("us", "Ohio")));
        let nordic = by_id(derive_id("group", &["Nordic"])).unwrap();
        assert_eq!(nordic.member_ids().len(), 5);
        assert_eq!(nordic.member_ids()[0], place("dk", "").country_id());
    }

    #[test]
    fn every_member_is_a_country() {
        for group in GROUPS {
            for code in group.countries.split(' ') {
                assert!(CountryCode::parse(code).unwrap().name().is_some(), "{}: {code}", group.name);
            }
        }
        assert_eq!(GROUPS.len(), 22);
    }
}
