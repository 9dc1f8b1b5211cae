//! QR images of codes: a link that adds the device, for a phone's camera.

use std::io::Cursor;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use fast_qr::{ECL, QRBuilder, QRCode};

use crate::domain::association::code::MAX_CODE_BYTES;
use crate::http::error::ApiError;
use crate::http::extract::{PathText, Session};
use crate::http::state::ApiState;

/// Width and height of the image, in pixels.
const SIDE: usize = 256;

/// Light modules around the code, which readers need.
const QUIET: usize = 4;

/// Red, green and blue of light pixels and of dark ones.
const PALETTE: [u8; 6] = [255, 255, 255, 29, 49, 80];

/// Shows a share code as a QR image.
#[utoipa::path(
    get,
    path = "/device/share-code/{code}/qr.png",
    tag = "devices",
    security(("bearer" = [])),
    params(("code" = String, Path, description = "The code; it need not exist.")),
    responses((status = 200, content_type = "image/png", body = crate::http::openapi::Bytes))
)]
pub async fn share_code_qr(
    State(state): State<ApiState>,
    _caller: Session,
    PathText(code): PathText,
) -> Result<Response, ApiError> {
    image(&state.config().device.add_url_base, &code)
}

/// Shows an adopt code as a QR image.
#[utoipa::path(
    get,
    path = "/device/adopt-code/{code}/qr.png",
    tag = "devices",
    params(("code" = String, Path, description = "The code; it need not exist.")),
    responses((status = 200, content_type = "image/png", body = crate::http::openapi::Bytes))
)]
pub async fn adopt_code_qr(State(state): State<ApiState>, PathText(code): PathText) -> Result<Response, ApiError> {
    image(&state.config().device.add_url_base, &code)
}

fn image(base: &str, code: &str) -> Result<Response, ApiError> {
    let too_long = || ApiError::bad_request("The code is too long for a QR image.");
    if code.len() > MAX_CODE_BYTES {
        return Err(too_long());
    }
    let qr = QRBuilder::new(link(base, code)).ecl(ECL::M).build().map_err(|_| too_long())?;
    let png = draw(&qr).ok_or_else(too_long)?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}

/// The link that apps open: the code as a form would write it.
fn link(base: &str, code: &str) -> String {
    let mut link = format!("{base}?add=");
    for byte in code.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => link.push(char::from(byte)),
            b' ' => link.push('+'),
            _ => link.push_str(&format!("%{byte:02X}")),
        }
    }
    link
}

/// A PNG of one bit a pixel, the modules as large as they fit, in the middle.
fn draw(qr: &QRCode) -> Option<Vec<u8>> {
    let scale = SIDE / (qr.size + 2 * QUIET);
    let margin = (SIDE - qr.size * scale) / 2;
    let module = |at: usize| at.checked_sub(margin)?.checked_div(scale).filter(|module| *module < qr.size);
    let mut bits = vec![0u8; SIDE * SIDE / 8];
    for y in 0..SIDE {
        for x in 0..SIDE {
            let is_dark = module(y).zip(module(x)).is_some_and(|(row, column)| qr[row][column].value());
            bits[(y * SIDE + x) / 8] |= u8::from(is_dark) << (7 - x % 8);
        }
    }
    let mut out = Cursor::new(Vec::new());
    let mut encoder = png::Encoder::new(&mut out, SIDE as u32, SIDE as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_palette(PALETTE.to_vec());
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&bits).ok()?;
    writer.finish().ok()?;
    Some(out.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::TestApi;

    const CODE: &str = "abandon ability able about above absent";

    /// Width, height and red, green, blue of each pixel.
    fn pixels(bytes: &[u8]) -> (usize, usize, Vec<[u8; 3]>) {
        let mut decoder = png::Decoder::new(Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut buffer).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb);
        let colors = buffer.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        (info.width as usize, info.height as usize, colors)
    }

    /// What an independent reader sees.
    fn read(bytes: &[u8]) -> String {
        let (width, height, colors) = pixels(bytes);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| colors[y * width + x][0]);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn any_code_is_read_back_from_its_image() {
        for code in [CODE, "x", "a+b & c/d*~", &"word ".repeat(200)] {
            let qr = QRBuilder::new(link("https://app.example.org/", code)).ecl(ECL::M).build().unwrap();
            assert_eq!(read(&draw(&qr).unwrap()), link("https://app.example.org/", code));
        }
    }

    #[test]
    fn links_are_written_like_a_form() {
        assert_eq!(link("https://a.b/", "one two"), "https://a.b/?add=one+two");
        assert_eq!(link("https://a.b/", "+*ü~"), "https://a.b/?add=%2B%2A%C3%BC~");
    }

    #[tokio::test]
    async fn the_image_has_its_size_and_colours() {
        let api = TestApi::new();
        let path = format!("/device/adopt-code/{}/qr.png", CODE.replace(' ', "%20"));
        let answer = api.get(&path).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["content-type"]), (200, &"image/png".parse().unwrap()));
        let (width, height, colors) = pixels(&answer.bytes);
        assert_eq!((width, height), (256, 256));
        assert!(colors.contains(&[29, 49, 80]) && colors.contains(&[255, 255, 255]));
        assert!(colors.iter().all(|color| matches!(color, [29, 49, 80] | [255, 255, 255])));
        assert_eq!(read(&answer.bytes), format!("https://app.bringyour.com/?add={}", CODE.replace(' ', "+")));
    }

    #[tokio::test]
    async fn the_segment_is_decoded_as_a_path_and_the_base_is_the_operators() {
        let mut config = TestApi::config();
        config.device.add_url_base = "https://my.example/".into();
        let api = TestApi::with_config(config);
        let answer = api.get("/device/share-code/a+b%20c%2Fd/qr.png").token(&api.client_token).await;
        assert_eq!(read(&answer.bytes), "https://my.example/?add=a%2Bb+c%2Fd");
    }

    #[tokio::test]
    async fn the_share_image_needs_a_token_and_the_adopt_image_none() {
        let api = TestApi::new();
        api.get("/device/share-code/x/qr.png").await.expect(401);
        assert_eq!(api.get("/device/adopt-code/x/qr.png").await.status, 200);
    }

    #[tokio::test]
    async fn codes_that_do_not_fit_are_refused() {
        let api = TestApi::new();
        for code in ["x".repeat(1025), "%20".repeat(1025), "%C3%BC".repeat(500), "%FF".into()] {
            api.get(&format!("/device/adopt-code/{code}/qr.png")).await.expect(400);
        }
        assert_eq!(api.get(&format!("/device/adopt-code/{}/qr.png", "x".repeat(1024))).await.status, 200);
    }
}
