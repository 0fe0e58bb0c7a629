// Files both ways: encrypted where the room is, fetched once.
import * as sdk from "matrix-js-sdk";
import type { RoomMessageEventContent } from "matrix-js-sdk/lib/types.js";
import { decryptAttachment, encryptAttachment, type IEncryptedFile } from "matrix-encrypt-attachment";

import type { FileOfMessage } from "./timeline";
import { locale } from "./words";

/** What a browser may show in place; anything else (SVG too, which can carry scripts) is a download. */
const SHOWN = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);
const fetched = new Map<string, Promise<string>>();

export function isShown(file: FileOfMessage): boolean {
  return SHOWN.has(file.mime);
}

/** An address within this page for the content of a file. */
export function addressOf(client: sdk.MatrixClient, file: FileOfMessage): Promise<string> {
  let known = fetched.get(file.url);
  if (!known) {
    known = load(client, file);
    fetched.set(file.url, known);
    // A failure is not remembered: the next try may find it.
    known.catch(() => fetched.delete(file.url));
  }
  return known;
}

async function load(client: sdk.MatrixClient, file: FileOfMessage): Promise<string> {
  const address = client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true);
  if (!address) throw new Error("This file has no address.");
  const response = await fetch(address, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
  if (!response.ok) throw new Error(`The file cannot be fetched (${response.status}).`);
  const bytes = await response.arrayBuffer();
  const plain = file.sealed ? await decryptAttachment(bytes, file.sealed as unknown as IEncryptedFile) : bytes;
  return URL.createObjectURL(new Blob([plain], { type: isShown(file) ? file.mime : "application/octet-stream" }));
}

export async function save(client: sdk.MatrixClient, file: FileOfMessage): Promise<void> {
  const link = document.createElement("a");
  link.href = await addressOf(client, file);
  link.download = file.name;
  link.click();
}

export async function sendFile(
  client: sdk.MatrixClient,
  room: sdk.Room,
  file: File,
  progress: (part: number) => void,
): Promise<void> {
  const info: Record<string, unknown> = { mimetype: file.type || "application/octet-stream", size: file.size };
  Object.assign(info, await dimensions(file));
  const where = await upload(client, file, room.hasEncryptionStateEvent(), progress);
  const family = file.type.split("/")[0] ?? "";
  const msgtype = ["image", "audio", "video"].includes(family) ? `m.${family}` : "m.file";
  const content = { msgtype, body: file.name, filename: file.name, info, ...where };
  await client.sendMessage(room.roomId, content as unknown as RoomMessageEventContent);
}

async function upload(client: sdk.MatrixClient, file: File, encrypted: boolean, progress: (part: number) => void) {
  const progressHandler = ({ loaded, total }: sdk.UploadProgress) => progress(total ? loaded / total : 0);
  if (!encrypted) {
    const options = { name: file.name, type: file.type || "application/octet-stream", progressHandler };
    return { url: (await client.uploadContent(file, options)).content_uri };
  }
  const sealed = await encryptAttachment(await file.arrayBuffer());
  const blob = new Blob([sealed.data], { type: "application/octet-stream" });
  const options = { type: "application/octet-stream", includeFilename: false, progressHandler };
  return { file: { ...sealed.info, url: (await client.uploadContent(blob, options)).content_uri } };
}

async function dimensions(file: File): Promise<{ w?: number; h?: number }> {
  if (!SHOWN.has(file.type)) return {};
  try {
    const picture = await createImageBitmap(file);
    return { w: picture.width, h: picture.height };
  } catch {
    return {};
  }
}

export function sizeOf(bytes: number): string {
  const [amount, unit, digits] =
    bytes < 1000 ? [bytes, "byte", 0] : bytes < 1_000_000 ? [bytes / 1000, "kilobyte", 0] : [bytes / 1_000_000, "megabyte", 1];
  const unitDisplay = unit === "byte" ? "long" : "short";
  return amount.toLocaleString(locale, { style: "unit", unit, unitDisplay, maximumFractionDigits: digits });
}
