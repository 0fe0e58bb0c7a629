"""The way of a message through the host; plugins use `surfaces_core` alone.

Read in this order: settings, config, discovery (what is switched on), journal (what is durable when),
lanes, turns, drafts, delivery (the way of a message), conversations, desk (what commands can do).
"""
