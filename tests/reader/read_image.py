#!/usr/bin/env python3
"""Restores one region of an image to a file, from docs/image-format.md alone.

Shares no code with the program: BLAKE3 is written here after its specification
(https://github.com/BLAKE3-team/BLAKE3-specs), zstd is the command or the Python module.

    read_image.py REPOSITORY IMAGE                      lists disks and regions
    read_image.py REPOSITORY IMAGE DISK REGION OUTPUT   writes the region to OUTPUT
    read_image.py REPOSITORY IMAGE DISK table OUTPUT    writes the table sectors to their offsets in OUTPUT

--no-digest leaves the BLAKE3 of chunks, maps and indexes unchecked: pure Python needs about a second for a MiB.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys

CHUNK = 256 << 10
MASK = 0xFFFFFFFF


# --- BLAKE3, hash mode -----------------------------------------------------------------------

IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MIXES = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]


def compress(chaining, words, counter, length, flags):
    v = chaining + IV[:4] + [counter & MASK, counter >> 32, length, flags]
    for turn in range(7):
        for number, (a, b, c, d) in enumerate(MIXES):
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            va = (va + vb + words[2 * number]) & MASK
            vd ^= va
            vd = (vd >> 16 | vd << 16) & MASK
            vc = (vc + vd) & MASK
            vb ^= vc
            vb = (vb >> 12 | vb << 20) & MASK
            va = (va + vb + words[2 * number + 1]) & MASK
            vd ^= va
            vd = (vd >> 8 | vd << 24) & MASK
            vc = (vc + vd) & MASK
            vb ^= vc
            vb = (vb >> 7 | vb << 25) & MASK
            v[a], v[b], v[c], v[d] = va, vb, vc, vd
        if turn < 6:
            words = [words[place] for place in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def chunk_node(data, counter):
    """The arguments of the last compression of a chunk of up to 1024 bytes."""
    blocks = [data[at:at + 64] for at in range(0, len(data), 64)] or [b""]
    chaining = IV
    for number, block in enumerate(blocks):
        words = list(struct.unpack("<16I", block.ljust(64, b"\0")))
        flags = (CHUNK_START if number == 0 else 0) | (CHUNK_END if number == len(blocks) - 1 else 0)
        node = (chaining, words, counter, len(block), flags)
        if number < len(blocks) - 1:
            chaining = compress(*node)
    return node


def tree_node(data, counter):
    if len(data) <= 1024:
        return chunk_node(data, counter)
    # The left part holds the largest power of two of chunks that leaves something to the right.
    left = 1024 << ((len(data) - 1) // 1024).bit_length() - 1
    words = compress(*tree_node(data[:left], counter)) + compress(*tree_node(data[left:], counter + left // 1024))
    return (IV, words, 0, 64, PARENT)


def blake3(data):
    chaining, words, counter, length, flags = tree_node(bytes(data), 0)
    return struct.pack("<8I", *compress(chaining, words, counter, length, flags | ROOT))


# --- the format ------------------------------------------------------------------------------

class Damaged(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Damaged(what)


def unzstd(frame, length):
    try:
        import zstandard
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=length)
    except ImportError:
        return subprocess.run(["zstd", "-d", "-c", "-q"], input=frame, stdout=subprocess.PIPE, check=True).stdout


class Reader:
    def __init__(self, repository, image, digest):
        self.root, self.image, self.digest = pathlib.Path(repository), image, digest
        header = self.sealed("sosei.json")
        require(header["format"] == 1, f"sosei.json: format {header['format']} is unknown")
        require(header["chunk_size"] == CHUNK, "sosei.json: another chunk size")
        require(header["digest"] == "blake3", "sosei.json: another digest")
        require(header["encryption"] is None, "sosei.json: the repository is encrypted")
        self.manifest = self.sealed(f"images/{image}/manifest.json")
        require(self.manifest["format"] == 1, "manifest.json: unknown format")
        require(self.manifest["image"] == image, "manifest.json: of another image")
        self.chunks = {}
        for path in sorted(self.root.glob("packs/*/*.pack")):
            self.read_index(path)

    def sealed(self, name):
        """A JSON document that begins with its own digest. Always checked: it is small."""
        data = (self.root / name).read_bytes()
        prefix = b'{\n  "blake3": "'
        require(data.startswith(prefix), f"{name}: does not begin with its digest")
        start, end = len(prefix), len(prefix) + 64
        told = data[start:end].decode("ascii", "replace")
        require(blake3(data[:start] + b"0" * 64 + data[end:]).hex() == told, f"{name}: wrong digest")
        return json.loads(data)

    def read_index(self, path):
        size = path.stat().st_size
        with path.open("rb") as pack:
            require(pack.read(16) == b"SOSEIPAK" + struct.pack("<II", 1, 0), f"{path}: wrong header")
            pack.seek(size - 64)
            magic, offset, length, count, told = struct.unpack("<8sQQQ32s", pack.read(64))
            require(magic == b"SOSEIEND" and offset + length == size - 64 and count * 48 == length,
                    f"{path}: wrong trailer")
            require(path.name == told.hex() + ".pack", f"{path}: its index has another name")
            pack.seek(offset)
            index = pack.read(length)
        require(not self.digest or blake3(index) == told, f"{path}: wrong digest of the index")
        expected = 16
        for place, stored, length, chunk in struct.iter_unpack("<QII32s", index):
            require(place == expected, f"{path}: a gap before the record at {place}")
            expected = place + 64 + stored
            self.chunks.setdefault(chunk, (path, place, stored, length))
        require(expected == offset, f"{path}: a gap before the index")

    def chunk(self, chunk):
        require(chunk in self.chunks, f"no pack holds the chunk {chunk.hex()}")
        path, place, stored_length, length = self.chunks[chunk]
        with path.open("rb") as pack:
            pack.seek(place)
            record = pack.read(64 + stored_length)
        where = f"{path} at {place}"
        magic, encoding, zero, own_length, own_stored, own_chunk, check = struct.unpack("<4sB3sII32s16s", record[:64])
        require((magic, zero, own_length, own_stored, own_chunk) ==
                (b"CHNK", b"\0\0\0", length, stored_length, chunk), f"{where}: another record than the index says")
        require(not self.digest or blake3(record[:48] + record[64:])[:16] == check, f"{where}: wrong check")
        require(encoding in (0, 1), f"{where}: encoding {encoding} is unknown")
        data = record[64:] if encoding == 0 else unzstd(record[64:], length)
        require(len(data) == length, f"{where}: {len(data)} bytes instead of {length}")
        require(not self.digest or blake3(data) == chunk, f"{where}: wrong digest")
        return data

    def disk(self, name):
        disk = next((disk for disk in self.manifest["disks"] if disk["name"] == name), None)
        require(disk is not None, f"the image has no disk {name}")
        return disk

    def restore(self, disk, name, output):
        disk = self.disk(disk)
        pairs = zip(disk["layout"]["regions"], disk["regions"])
        region, record = next(((r, s) for r, s in pairs if r["name"] == name), (None, None))
        require(region is not None, f"the disk has no region {name}")
        require(record["map"] is not None, f"{name} was left out when the image was saved")
        length = region["extent"][1]
        map_name = f"images/{self.image}/{disk['name']}.{name}.map"
        data = (self.root / map_name).read_bytes()
        require(len(data) == record["map"]["size"], f"{map_name}: another size than the manifest says")
        require(not self.digest or blake3(data).hex() == record["map"]["digest"], f"{map_name}: wrong digest")
        magic, version, chunk_size, own_length, extents, chunks = struct.unpack("<8sIIQQQ", data[:40])
        require(magic == b"SOSEIMAP" and version == 1 and chunk_size == CHUNK and own_length == length,
                f"{map_name}: wrong header")
        table = [struct.unpack_from("<QQ", data, 40 + 16 * number) for number in range(extents)]
        require(sum(bytes_ for _, bytes_ in table) == record["coverage"]["bytes"], f"{map_name}: another coverage")
        numbers = sorted({n for start, count in table for n in range(start // CHUNK, (start + count - 1) // CHUNK + 1)})
        require(len(numbers) == chunks, f"{map_name}: another number of chunks")
        contents, position = [], 40 + 16 * extents
        while len(contents) < chunks:
            kind, count = struct.unpack_from("<II", data, position)
            position += 8
            require(kind in (0, 1) and count > 0, f"{map_name}: run of kind {kind}")
            if kind == 0:
                contents += [None] * count
            else:
                contents += [data[position + 32 * n:position + 32 * n + 32] for n in range(count)]
                position += 32 * count
        require(len(contents) == chunks and position == len(data), f"{map_name}: bytes left over")
        with open(output, "wb") as file:
            file.truncate(length)
            for number, chunk in zip(numbers, contents):
                if chunk is not None:
                    bytes_ = self.chunk(chunk)
                    require(len(bytes_) == min(CHUNK, length - number * CHUNK), f"chunk {number}: wrong length")
                    file.seek(number * CHUNK)
                    file.write(bytes_)

    def restore_table(self, disk, output):
        layout = self.disk(disk)["layout"]
        with open(output, "wb") as file:
            file.truncate(layout["disk_size"])
            for run in layout["table_sectors"]:
                file.seek(run["extent"][0])
                file.write(bytes.fromhex(run["bytes"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["repository", "image"]:
        parser.add_argument(name)
    for name in ["disk", "region", "output"]:
        parser.add_argument(name, nargs="?")
    parser.add_argument("--no-digest", action="store_true")
    arguments = parser.parse_args()
    assert blake3(b"").hex().startswith("af1349b9f5f9a1a6"), "BLAKE3 of nothing"
    try:
        reader = Reader(arguments.repository, arguments.image, not arguments.no_digest)
        if arguments.output is None:
            for disk in reader.manifest["disks"]:
                for region, saved in zip(disk["layout"]["regions"], disk["regions"]):
                    print(disk["name"], region["name"], *region["extent"], saved["coverage"]["method"])
        elif arguments.region == "table":
            reader.restore_table(arguments.disk, arguments.output)
        else:
            reader.restore(arguments.disk, arguments.region, arguments.output)
    except (Damaged, OSError, KeyError, ValueError, struct.error, subprocess.CalledProcessError) as error:
        sys.exit(f"read_image.py: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
