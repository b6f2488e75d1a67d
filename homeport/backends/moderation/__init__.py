"""The moderation model of this machine: heads on sentence vectors, and words (docs/moderations.md).

categories   what is judged             lexicon      words that say something by themselves
windows      a text in pieces           heads        numbers -> scores, as they are kept in heads.json
fitting      sentences.txt -> heads     classifier   a vector engine with heads on it
"""
