"""Small images of every kind that needs a decision, with the RGB pixels that PIL makes of them, for src/data/decode.test.ts.

Run: python3 test/golden/make_decoded.py   (Pillow 12; writes decoded.json beside this file)
"""

import base64
import io
import json
import os

from PIL import Image, ImageOps

WIDTH, HEIGHT = 13, 10
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"  # APP14; its last byte is the colour transform


def pixels(channels):
    values = ((29 * x + 17 * y + 83 * c + (x * y * (c + 3)) % 40) % 256 for y in range(HEIGHT) for x in range(WIDTH) for c in range(channels))
    return bytes(values)


def picture(mode):
    return Image.frombytes(mode, (WIDTH, HEIGHT), pixels(len(mode)))


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def oriented(orientation, format, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture("RGB"), format=format, exif=exif, **options)


def cases():
    for name, options in [("JPEG", {"quality": 90}), ("progressive JPEG", {"quality": 90, "progressive": True})]:
        yield "RGB " + name, saved(picture("RGB"), format="JPEG", **options)
        yield "grey " + name, saved(picture("L"), format="JPEG", **options)
        yield "CMYK " + name, saved(picture("CMYK"), format="JPEG", **options)
    cmyk = saved(picture("CMYK"), format="JPEG", quality=90)
    at = cmyk.find(b"\xff\xee")
    assert cmyk[at + 2 : at + 4] == b"\x00\x0e" and cmyk[at + 4 : at + 9] == b"Adobe"
    yield "CMYK JPEG without a word of Adobe", cmyk[:at] + cmyk[at + 16 :]
    yield "YCCK JPEG", cmyk[: at + 15] + b"\x02" + cmyk[at + 16 :]
    for orientation in range(1, 10):
        yield f"JPEG of orientation {orientation}", oriented(orientation, "JPEG", quality=90)
    for orientation in (3, 6, 7):
        yield f"PNG of orientation {orientation}", oriented(orientation, "PNG")
        yield f"WebP of orientation {orientation}", oriented(orientation, "WEBP", lossless=True)
        yield f"TIFF of orientation {orientation}", oriented(orientation, "TIFF")
    for compression in (None, "tiff_lzw"):
        yield f"CMYK TIFF, {compression}", saved(picture("CMYK"), format="TIFF", compression=compression)
    exif = Image.Exif()
    exif[0x0112] = 8
    yield "CMYK JPEG of orientation 8", saved(picture("CMYK"), format="JPEG", quality=90, exif=exif)
    yield "CMYK TIFF of orientation 5", saved(picture("CMYK"), format="TIFF", exif=exif_of(5))
    for mode in ("RGB", "RGBA", "L", "LA"):
        yield f"{mode} PNG", saved(picture(mode), format="PNG")
    yield "RGBA WebP", saved(picture("RGBA"), format="WEBP", lossless=True, exact=True)
    yield "RGBA TIFF", saved(picture("RGBA"), format="TIFF")
    yield "PNG of 2 colours", saved(picture("L").convert("1"), format="PNG")
    yield "PNG with a palette", saved(picture("RGB").quantize(16), format="PNG")
    frames = [picture("RGB").quantize(64), ImageOps.mirror(picture("RGB")).quantize(64)]
    yield "GIF of 2 frames", saved(frames[0], format="GIF", save_all=True, append_images=frames[1:])
    yield "TIFF of 2 pages", saved(picture("RGB"), format="TIFF", save_all=True, append_images=[picture("L")])
    profile = wide_profile()
    yield "JPEG with a colour profile", saved(picture("RGB"), format="JPEG", quality=90, icc_profile=profile)
    yield "PNG with a colour profile", saved(picture("RGB"), format="PNG", icc_profile=profile)


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def wide_profile():
    """sRGB with red and blue exchanged: whoever follows it shows other colours."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    tags = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def decoded(data):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def main():
    known = {}
    for name, data in cases():
        image = decoded(data)
        known[name] = {
            "file": base64.b64encode(data).decode(),
            "height": image.height,
            "width": image.width,
            "rgb": base64.b64encode(image.tobytes()).decode(),
        }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoded.json")
    with open(path, "w") as file:
        json.dump(known, file, indent=1)
        file.write("\n")


main()
