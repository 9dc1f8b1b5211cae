use super::*;

#[test]
fn the_middle_does_not_care_where_degrees_begin() {
    let middle = |points: &[(f64, f64)]| {
        let mut middle = Middle::default();
        points.iter().for_each(|(latitude, longitude)| {
            middle.add(Coordinates { latitude: *latitude, longitude: *longitude });
        });
        let Coordinates { latitude, longitude } = middle.point();
        (latitude, longitude.abs())
    };
    assert_eq!(middle(&[(52.5, 13.4)]), (52.5, 13.4));
    assert_eq!(middle(&[(0.0, 170.0), (0.0, -170.0)]), (0.0, 180.0));
    assert_eq!(middle(&[(10.0, 0.0), (-10.0, 0.0)]), (0.0, 0.0));
}
