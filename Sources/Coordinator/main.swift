import Core
print("t2v-coordinator")
