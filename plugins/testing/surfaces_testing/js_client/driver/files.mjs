// Files: uploading and downloading, encrypted where the room is.
import { decryptAttachment, encryptAttachment } from "matrix-encrypt-attachment";

// Uploads; the part of a message's content that says where it lies: `{url}`, or `{file}` when encrypted.
export async function upload({ client }, { data, mime, name, encrypted }) {
  const plain = Uint8Array.from(Buffer.from(data, "base64"));
  if (!encrypted) {
    const { content_uri } = await client.uploadContent(plain, { type: mime, name, includeFilename: true });
    return { url: content_uri };
  }
  const sealed = await encryptAttachment(plain.buffer);
  const { content_uri } = await client.uploadContent(new Uint8Array(sealed.data), {
    type: "application/octet-stream",
    includeFilename: false,
  });
  return { file: { ...sealed.info, url: content_uri } };
}

// The bytes of a message's file as base64, checked against its hash and decrypted.
export async function download(session, { room, event }) {
  const content = session.room(room).findEventById(event)?.getContent() ?? {};
  const sealed = content.file;
  const bytes = await fetchMedia(session.client, sealed?.url ?? content.url);
  const plain = sealed ? await decryptAttachment(bytes, sealed) : bytes;
  return Buffer.from(plain).toString("base64");
}

// The bytes as they lie on the homeserver.
export async function download_raw({ client }, { url }) {
  return Buffer.from(await fetchMedia(client, url)).toString("base64");
}

async function fetchMedia(client, url) {
  const address = client.mxcUrlToHttp(url ?? "", undefined, undefined, undefined, false, true, true);
  if (!address) throw new Error("the message carries no file");
  const response = await fetch(address, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
  if (!response.ok) throw new Error(`the file cannot be fetched: ${response.status}`);
  return await response.arrayBuffer();
}
