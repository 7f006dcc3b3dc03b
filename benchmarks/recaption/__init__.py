"""Do captions that were written anew, or translated, help a model that learns from them?"""
