"""Commands of Surfaces for conversations (`chats`), contexts (`context`) and staged files (`staging`)."""
